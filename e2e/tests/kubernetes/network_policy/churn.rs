//! Policies, labels and pods change at random under traffic. `MINUTES=10` does it for longer.

use std::{
    env,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xdp_e2e::{
    Random,
    installed::{ClusterPod, ClusterPodSpec, Installation, Space},
};
use xdp_lab::UdpSender;

use super::{PACKETS, Server, block};
use crate::fixture::client;

/// From the end of `kubectl` to the first look at which the packets are as they should be, on a busy machine.
const LATEST: Duration = Duration::from_secs(20);

/// The rules of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Nothing,
    Everything,
    OtherPorts,
    Outside,
    Friends,
    RedNamespaces,
}

const RULES: [Rules; 6] = [
    Rules::Nothing,
    Rules::Everything,
    Rules::OtherPorts,
    Rules::Outside,
    Rules::Friends,
    Rules::RedNamespaces,
];

/// The policies and labels.
#[derive(Clone, Debug, Default)]
struct State {
    policies: [Option<Rules>; 2],
    is_friend: bool,
    is_red: bool,
}

impl State {
    /// Returns whether the client outside may be redirected, and whether the pod may.
    fn allowed(&self) -> [bool; 2] {
        let mut policies = self.policies.iter().flatten().peekable();
        if policies.peek().is_none() {
            return [true; 2];
        }
        let mut allowed = [false; 2];
        for rules in policies {
            let [outside, pod] = match rules {
                Rules::Nothing | Rules::OtherPorts => [false; 2],
                Rules::Everything => [true; 2],
                Rules::Outside => [true, false],
                Rules::Friends => [false, self.is_friend && self.is_red],
                Rules::RedNamespaces => [false, self.is_red],
            };
            allowed = [allowed[0] || outside, allowed[1] || pod];
        }
        allowed
    }
}

struct Churn<'a> {
    server: Server<'a>,
    others: Space<'a>,
    pod: ClusterPod<'a>,
    state: State,
    random: Random,
    delays: Vec<Duration>,
}

#[test]
fn no_packet_is_redirected_that_the_policies_before_and_after_a_change_refuse() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let minutes = env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes.unwrap_or(1.0));
    let server = Server::start(installed, "np-churn");
    let others = installed.space("np-churn-others").unwrap();
    let pod = others.pod(&ClusterPodSpec::new("client", "other", 2)).unwrap();
    let mut churn = Churn {
        server,
        others,
        pod,
        state: State::default(),
        random: Random::new(1, "churn"),
        delays: Vec::new(),
    };
    while Instant::now() < end {
        churn.step();
    }
    churn.delays.sort_unstable();
    let at = |share: usize| churn.delays[(churn.delays.len() - 1) * share / 100];
    println!(
        "{} changes; from the answer of the API server to the packets: half within {:?}, 99 % within {:?}",
        churn.delays.len(),
        at(50),
        at(99)
    );
    assert!(churn.delays.len() >= 5, "{}", churn.delays.len());
}

impl Churn<'_> {
    /// Makes a change, and looks until all packets are as they should be.
    fn step(&mut self) {
        let before = self.state.allowed();
        self.change();
        let after = self.state.allowed();
        let changed = Instant::now();
        loop {
            let redirected = self.look();
            for source in 0..2 {
                let refused = !before[source] && !after[source];
                assert!(
                    !refused || redirected[source] == 0,
                    "{redirected:?} were redirected; allowed before {before:?} and after {after:?}: {:?}",
                    self.state
                );
            }
            if redirected == after.map(|allowed| if allowed { PACKETS } else { 0 }) {
                break;
            }
            assert!(
                changed.elapsed() < LATEST,
                "{redirected:?} are redirected after {:?}; allowed {after:?}: {:?}",
                changed.elapsed(),
                self.state
            );
        }
        self.delays.push(changed.elapsed());
    }

    fn change(&mut self) {
        match self.random.below(8) {
            0 => {
                self.state.is_friend = !self.state.is_friend;
                let label = if self.state.is_friend {
                    "role=friend"
                } else {
                    "role-"
                };
                self.others
                    .kubectl(&["label", "--overwrite", "pod", "client", label])
                    .unwrap();
            }
            1 => {
                self.state.is_red = !self.state.is_red;
                let label = if self.state.is_red { "team=red" } else { "team-" };
                let call = ["label", "--overwrite", "namespace", &self.others.name, label];
                self.server.installed.kubectl(&call).unwrap();
            }
            2 => self.replace_pod(),
            number => {
                let slot = (number % 2) as usize;
                let rules = self.random.pick(&RULES);
                let exists = self.random.percent(67);
                self.set_policy(slot, exists.then_some(rules));
            }
        }
    }

    fn set_policy(&mut self, slot: usize, rules: Option<Rules>) {
        let name = ["first", "second"][slot];
        let before = std::mem::replace(&mut self.state.policies[slot], rules);
        match rules {
            Some(rules) => self.server.restrict(name, &self.ingress(rules)),
            None if before.is_some() => self.server.free(name),
            None => {}
        }
    }

    fn ingress(&self, rules: Rules) -> Value {
        let addresses = self.server.installed.client_addresses();
        let red = json!({"matchLabels": {"team": "red"}});
        match rules {
            Rules::Nothing => json!([]),
            Rules::Everything => json!([{}]),
            Rules::OtherPorts => json!([{"ports": [{"protocol": "UDP", "port": 9999}]}]),
            Rules::Outside => {
                let v4 = block(&format!("{}/32", addresses.v4), &[]);
                json!([{"from": [v4, block(&format!("{}/128", addresses.v6), &[])]}])
            }
            Rules::Friends => {
                let pods = json!({"matchLabels": {"role": "friend"}});
                json!([{"from": [{"namespaceSelector": red, "podSelector": pods}]}])
            }
            Rules::RedNamespaces => json!([{"from": [{"namespaceSelector": red}]}]),
        }
    }

    /// Deletes the client's pod, and creates another one with the same labels.
    fn replace_pod(&mut self) {
        self.others.kubectl(&["delete", "pod", "client"]).unwrap();
        let mut spec = ClusterPodSpec::new("client", "other", 2);
        if self.state.is_friend {
            spec = spec.label("role", "friend");
        }
        // The space outlives the pod.
        let pod = self.others.pod(&spec).unwrap();
        self.pod.addresses.clone_from(&pod.addresses);
    }

    /// Returns how many datagrams of the client outside, and of the pod, are redirected.
    fn look(&self) -> [u64; 2] {
        let Server { installed, pod, .. } = &self.server;
        let source = client(installed, pod.v4());
        let outside = self.server.redirected(source, || {
            let mut sender = UdpSender::new(installed.client(), pod.udp())?;
            sender.send_paced(PACKETS, 2000)?;
            Ok(sender.stream())
        });
        let from_pod = self
            .server
            .redirected(self.pod.v4(), || self.pod.send_udp(pod.udp(), PACKETS));
        [outside.unwrap(), from_pod.unwrap()]
    }
}

//! A hostile tenant of a cluster, at random: the other one's rules, packets and changes do not notice, and
//! neither agent nor operator nor etcd grows beyond bounds. `MINUTES=60 make soak-tenant` does it for an
//! hour.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, Space};
use xdp_kubernetes::Node;

use crate::fixture::{PLAYERS, Rule, deliver, send};

const CLOSED: &str = "{name: closed, ports: [{protocol: UDP, port: 9999}], action: Drop}";
/// From `kubectl apply` to the condition `Programmed`, on a machine that is busy with the attack itself.
const LATEST: Duration = Duration::from_secs(30);
/// Resident memory, in MiB.
const AGENT: u64 = 200;
const OPERATOR: u64 = 150;
/// Growth of the API server's storage, in MiB.
const STORAGE: u64 = 200;
/// Policies of the attacker at a time.
const POLICIES: u64 = 60;
const DATAGRAMS: u64 = 20;

/// What the victim, and the administrator, saw.
#[derive(Debug, Default)]
struct Seen {
    steps: u64,
    slowest: Duration,
    agent: u64,
    operator: u64,
    storage: u64,
}

struct Soak<'a> {
    installed: &'a Installation,
    hostile: Space<'a>,
    victim: Space<'a>,
    pod: ClusterPod<'a>,
    dropped: u64,
    random: u64,
    storage: u64,
    seen: Seen,
}

#[test]
fn a_random_tenant_of_the_cluster_costs_another_one_neither_rules_nor_packets_nor_time() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let minutes = env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes.unwrap_or(0.5));
    let mut soak = Soak::start(installed);
    while Instant::now() < end {
        soak.attack();
        soak.look();
    }
    println!("{:?}", soak.seen);
    let Seen {
        slowest,
        agent,
        operator,
        storage,
        ..
    } = soak.seen;
    assert!(slowest <= LATEST, "{slowest:?}");
    assert!(
        agent <= AGENT && operator <= OPERATOR && storage <= STORAGE,
        "{:?}",
        soak.seen
    );
}

impl<'a> Soak<'a> {
    fn start(installed: &'a Installation) -> Self {
        let hostile = installed.space("soak-hostile").unwrap();
        let victim = installed.space("soak-victim").unwrap();
        let specs = [1, 2].map(|node| ClusterPodSpec::new(&format!("hostile-{node}"), "hostile", node));
        hostile.pods(&specs).unwrap();
        let pod = victim.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
        victim.policy("players", "game", &[CLOSED, PLAYERS]).unwrap();
        victim.until_programmed("players", 1).unwrap();
        Self {
            installed,
            hostile,
            victim,
            pod,
            dropped: 0,
            random: 1,
            storage: storage(installed),
            seen: Seen::default(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    /// Creates, changes or deletes some policies.
    fn attack(&mut self) {
        if self.below(5) == 0 {
            let arguments = ["delete", "xdppolicies", "--all", "--wait=false"];
            self.hostile.kubectl(&arguments).unwrap();
            return;
        }
        let count = 1 + self.below(12);
        let policies: Vec<Value> = (0..count).map(|_| self.policy()).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
        // What the API server refuses is refused: that is one answer to an attack.
        let _ = self.hostile.try_apply(&list.to_string()).unwrap();
    }

    fn policy(&mut self) -> Value {
        let (rules, kind) = (1 + self.below(100), self.below(4));
        let rules: Vec<Value> = (0..rules).map(|number| self.rule(number, kind)).collect();
        let selector = [json!({}), json!({"matchLabels": {"app": "nothing"}})];
        json!({
            "apiVersion": "xdp-operator.io/v1alpha1",
            "kind": "XdpPolicy",
            "metadata": {"name": format!("p{}", self.below(POLICIES))},
            "spec": {
                "priority": 0,
                "podSelector": selector[usize::from(self.below(4) == 0)],
                "ingress": rules,
            },
        })
    }

    fn rule(&mut self, number: u64, kind: u64) -> Value {
        let mut network = || {
            let prefix = 1 + self.below(24) as u8;
            let address = self.below(1 << 31) as u32;
            let network = ipnet::Ipv4Net::new(address.into(), prefix).unwrap().trunc();
            json!({"ipBlock": {"cidr": network.to_string()}})
        };
        let from: Vec<Value> = match kind {
            1 => (0..8).map(|_| network()).collect(),
            2 if number < 4 => vec![
                json!({"namespaceSelector": {}, "podSelector": {"matchExpressions": [
                {"key": format!("x{}", self.below(16)), "operator": "DoesNotExist"}]}}),
            ],
            _ => Vec::new(),
        };
        let port = 1 + 2 * self.below(30_000);
        let action = ["Redirect", "Drop", "Reject", "Pass"][self.below(4) as usize];
        json!({
            "name": format!("r{number}"),
            "from": from,
            "ports": [{"protocol": "UDP", "port": port}],
            "action": action,
        })
    }

    /// What the victim notices.
    fn look(&mut self) {
        self.seen.steps += 1;
        deliver(self.installed, &self.pod, DATAGRAMS);
        let mut closed = self.pod.udp();
        closed.set_port(9999);
        send(self.installed.client(), closed, DATAGRAMS);
        self.dropped += DATAGRAMS;
        let rule = Rule {
            installed: self.installed,
            space: &self.victim,
            policy: "players",
            name: "closed",
        };
        rule.expect(&self.pod, &[("dropped", self.dropped)]);
        let begin = Instant::now();
        let urgent = format!(
            "{{name: urgent, ports: [{{protocol: UDP, port: {}}}], action: Drop}}",
            self.seen.steps
        );
        self.victim.policy("urgent", "game", &[&urgent]).unwrap();
        self.victim.until_programmed("urgent", 1).unwrap();
        self.seen.slowest = self.seen.slowest.max(begin.elapsed());
        let nodes = || self.installed.nodes().iter();
        let largest = |program| {
            nodes()
                .map(|node| resident(node, program))
                .max()
                .unwrap_or_default()
        };
        self.seen.agent = self.seen.agent.max(largest("xdp-agent"));
        self.seen.operator = self.seen.operator.max(largest("xdp-operator"));
        let grown = storage(self.installed).saturating_sub(self.storage);
        self.seen.storage = self.seen.storage.max(grown);
    }
}

/// The largest resident memory of a program on a node, in MiB.
fn resident(node: &Node, program: &str) -> u64 {
    let script =
        format!("for pid in $(pgrep --exact {program}); do grep VmRSS /proc/$pid/status; done; true");
    let lines = node.exec_ok(&["bash", "-c", &script]).unwrap();
    let sizes = lines
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    sizes.max().unwrap_or_default() >> 10
}

/// The size of the API server's storage, in MiB.
fn storage(installed: &Installation) -> u64 {
    let metrics = installed.kubectl(&["get", "--raw", "/metrics"]).unwrap();
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("apiserver_storage_size_bytes"));
    let size = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    size.context("the API server reports the size of its storage")
        .unwrap() as u64
        >> 20
}

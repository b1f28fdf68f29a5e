//! NetworkPolicies, and policies of their kind, restrict what is redirected. No engine enforces them in this
//! cluster: what passes to the stack arrives, too, but without a mark.

mod churn;
mod engine;
mod kinds;

use std::net::{IpAddr, SocketAddr};

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Counts, Installation, Space, condition, policy};
use xdp_lab::UdpSender;

use crate::fixture::{PLAYERS, Rule, client};

/// Datagrams of one look.
const PACKETS: u64 = 20;
const MARK: u32 = 42;
const CONDITION: &str = "NetworkPolicyHonoured";

/// A pod to which a policy redirects datagrams.
struct Server<'a> {
    installed: &'a Installation,
    space: Space<'a>,
    pod: ClusterPod<'a>,
}

impl<'a> Server<'a> {
    fn start(installed: &'a Installation, namespace: &str) -> Self {
        let space = installed.space(namespace).unwrap();
        let pod = space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
        space.policy("players", "game", &[PLAYERS]).unwrap();
        space.until_programmed("players", 1).unwrap();
        Self {
            installed,
            space,
            pod,
        }
    }

    /// Applies a NetworkPolicy that selects the server, with these rules.
    fn restrict(&self, name: &str, ingress: &Value) {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": {
                "podSelector": {"matchLabels": {"app": "game"}},
                "policyTypes": ["Ingress"],
                "ingress": ingress,
            },
        });
        self.space.apply(&object.to_string()).unwrap();
    }

    fn free(&self, name: &str) {
        self.space.kubectl(&["delete", "networkpolicy", name]).unwrap();
    }

    /// Returns how many datagrams are redirected that `send` sends from a source: they arrive with the mark.
    fn redirected(&self, source: IpAddr, send: impl FnOnce() -> anyhow::Result<u32>) -> anyhow::Result<u64> {
        let marked = |counts: &Counts| counts.count(|flow| flow.source == source && flow.mark == MARK);
        let before = marked(&self.pod.counts()?);
        let stream = send()?;
        let after = self.installed.until("the datagrams arrive", || {
            let counts = self.pod.counts()?;
            let arrived = counts.of_stream(stream);
            ensure!(arrived == PACKETS, "{arrived} of {PACKETS} arrived");
            Ok(counts)
        })?;
        Ok(marked(&after) - before)
    }

    /// Returns whether all datagrams are redirected. None may be, too.
    fn is_redirected(
        &self,
        source: IpAddr,
        send: impl FnOnce() -> anyhow::Result<u32>,
    ) -> anyhow::Result<bool> {
        match self.redirected(source, send)? {
            0 => Ok(false),
            PACKETS => Ok(true),
            some => bail!("{some} of {PACKETS} are redirected"),
        }
    }

    /// Waits until datagrams of the client outside of the cluster are redirected, or not, in both families.
    #[track_caller]
    fn expect_outside(&self, redirected: bool) {
        for address in [self.pod.v4(), self.pod.v6()] {
            let source = client(self.installed, address);
            let to = SocketAddr::new(address, self.pod.udp().port());
            self.expect(source, redirected, || {
                let mut sender = UdpSender::new(self.installed.client(), to)?;
                sender.send_paced(PACKETS, 2000)?;
                Ok(sender.stream())
            });
        }
    }

    /// Waits until datagrams of a pod on another node are redirected, or not.
    #[track_caller]
    fn expect_pod(&self, client: &ClusterPod<'_>, redirected: bool) {
        self.expect(client.v4(), redirected, || {
            client.send_udp(self.pod.udp(), PACKETS)
        });
    }

    #[track_caller]
    fn expect(&self, source: IpAddr, redirected: bool, send: impl Fn() -> anyhow::Result<u32>) {
        let what = format!("redirected from {source}: {redirected}");
        let found = self.installed.until(what, || {
            ensure!(self.is_redirected(source, &send)? == redirected, "not so");
            Ok(())
        });
        found.unwrap();
    }

    /// Waits for the condition with a reason, and returns its message.
    fn until_condition(&self, status: &str, reason: &str) -> String {
        let what = format!("has the condition {CONDITION} {status} for the reason {reason}");
        let policy = self.space.until_policy("players", &what, |policy| {
            condition(policy, CONDITION).is_some_and(|found| {
                found["status"] == status
                    && found["reason"] == reason
                    && found["observedGeneration"] == policy["metadata"]["generation"]
            })
        });
        let policy = policy.unwrap();
        let message = &condition(&policy, CONDITION).unwrap()["message"];
        message.as_str().unwrap_or_default().to_owned()
    }
}

fn block(cidr: &str, except: &[&str]) -> Value {
    json!({"ipBlock": {"cidr": cidr, "except": except}})
}

#[test]
fn what_no_network_policy_allows_passes_to_the_stack() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let server = Server::start(installed, "np-blocks");
    server.expect_outside(true);
    server.until_condition("True", "Unrestricted");

    server.restrict("rules", &json!([]));
    server.expect_outside(false);
    let message = server.until_condition("True", "Restricted");
    assert!(message.contains("NetworkPolicy np-blocks/rules"), "{message}");
    let described = server.space.kubectl(&["describe", "xp", "players"]).unwrap();
    assert!(described.contains("NetworkPolicy np-blocks/rules"), "{described}");
    // A fallback of the rule, and by its reason of the node.
    let rule = Rule {
        installed,
        space: &server.space,
        policy: "players",
        name: "players",
    };
    let [fell_back] = rule.packets(&server.pod, ["fell_back"]).unwrap();
    let metrics = installed.agent_metrics(server.pod.node).unwrap();
    let reason = [("reason", "NetworkPolicy")];
    let of_node = metrics.sum("xdp_agent_fallback_packets_total", &reason);
    assert!(
        fell_back >= 2 * PACKETS && of_node > 0.0,
        "{fell_back}, {of_node}"
    );

    let addresses = installed.client_addresses();
    let all = [block("0.0.0.0/0", &[]), block("::/0", &[])];
    server.restrict("rules", &json!([{"from": all}]));
    server.expect_outside(true);
    let except = [
        block("0.0.0.0/0", &[&format!("{}/32", addresses.v4)]),
        block("::/0", &[&format!("{}/128", addresses.v6)]),
    ];
    server.restrict("rules", &json!([{"from": except}]));
    server.expect_outside(false);
    // Several policies add up. The port has a name in the pod.
    server.restrict(
        "port",
        &json!([{"ports": [{"protocol": "UDP", "port": 7000, "endPort": 8000}]}]),
    );
    server.expect_outside(true);
    server.restrict("port", &json!([{"ports": [{"protocol": "TCP"}]}]));
    server.expect_outside(false);
    server.free("rules");
    server.expect_outside(false);
    server.free("port");
    server.expect_outside(true);
    server.until_condition("True", "Unrestricted");
}

#[test]
fn drop_rules_act_whatever_network_policies_say() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let server = Server::start(installed, "np-drops");
    server.restrict("all", &json!([{}]));
    let closed = "{name: closed, ports: [{protocol: UDP, port: 7777}], action: Drop}";
    server
        .space
        .policy("players", "game", &[closed, PLAYERS])
        .unwrap();
    server.space.until_programmed("players", 1).unwrap();
    let rule = Rule {
        installed,
        space: &server.space,
        policy: "players",
        name: "closed",
    };
    crate::fixture::send(installed.client(), server.pod.udp(), 50);
    rule.expect(&server.pod, &[("dropped", 50)]);
    server.restrict("all", &json!([]));
    server.until_condition("True", "Restricted");
    crate::fixture::send(installed.client(), server.pod.udp(), 50);
    rule.expect(&server.pod, &[("dropped", 100)]);
}

#[test]
fn pods_that_a_network_policy_selects_as_sources_are_followed() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let server = Server::start(installed, "np-pods");
    let others = installed.space("np-pods-others").unwrap();
    let friend = ClusterPodSpec::new("friend", "other", 2).label("role", "friend");
    let [own, other] = [&server.space, &others].map(|space| space.pod(&friend).unwrap());
    let label = |space: &Space<'_>, label: &str| {
        let call = ["label", "--overwrite", "pod", "friend", label];
        space.kubectl(&call).unwrap();
    };
    let from_friends = json!([{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]);
    server.restrict("friends", &from_friends);
    server.expect_pod(&own, true);
    server.expect_pod(&other, false);
    server.expect_outside(false);
    label(&server.space, "role=stranger");
    server.expect_pod(&own, false);
    label(&server.space, "role=friend");
    server.expect_pod(&own, true);

    let named = json!({"matchLabels": {"kubernetes.io/metadata.name": others.name}});
    server.restrict("friends", &json!([{"from": [{"namespaceSelector": named}]}]));
    server.expect_pod(&other, true);
    server.expect_pod(&own, false);
    // Engines differ about blocks and addresses of the cluster.
    server.restrict("friends", &json!([{"from": [block("0.0.0.0/0", &[])]}]));
    server.expect_pod(&other, false);
    server.expect_pod(&own, false);
    // A pod that gets no packets is not restricted by a policy about others.
    server.free("friends");
    server.expect_pod(&other, true);
}

#[test]
fn an_agent_that_restarts_redirects_nothing_that_it_would_not_have() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let server = Server::start(installed, "np-restart");
    let addresses = installed.client_addresses();
    let from = [block(&format!("{}/32", addresses.v4), &[])];
    server.restrict("v4", &json!([{"from": from}]));
    let v4 = server.pod.v4();
    let source = client(installed, v4);
    let send = |address: IpAddr| {
        let mut sender = UdpSender::new(installed.client(), SocketAddr::new(address, 7777))?;
        sender.send_paced(PACKETS, 2000)?;
        Ok(sender.stream())
    };
    server.expect(source, true, || send(v4));
    let v6 = server.pod.v6();
    server.expect(client(installed, v6), false, || send(v6));
    let pid = installed.agent_pid(server.pod.node).unwrap();
    server
        .pod
        .node
        .exec_ok(&["kill", "-KILL", &pid.to_string()])
        .unwrap();
    // As before, from the first datagram on: while no agent runs, and when another one starts.
    installed
        .until("another agent runs", || {
            ensure!(
                server.is_redirected(source, || send(v4))?,
                "IPv4 is not redirected"
            );
            let other = server.is_redirected(client(installed, v6), || send(v6))?;
            assert!(!other, "IPv6 is redirected");
            let now = installed.agent_pid(server.pod.node)?;
            ensure!(now != pid, "the same agent runs");
            Ok(())
        })
        .unwrap();
}

/// Sets the chart's values back to those of all other tests.
struct Restored<'a>(&'a Installation);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.upgrade(&[]) {
            println!("the chart's values are not restored: {error:#}");
        }
    }
}

#[test]
fn network_policies_are_ignored_only_with_the_administrators_consent() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let server = Server::start(installed, "np-consent");
    server.restrict("nothing", &json!([]));
    server.expect_outside(false);
    let spec = "podSelector: {matchLabels: {app: game}}\nnetworkPolicy: Ignore";
    let manifest = policy("players", spec, &[PLAYERS]);
    let refused = server.space.try_apply(&manifest).unwrap();
    assert!(!refused.status.success());
    assert!(
        refused.stderr.contains("redirect.networkPolicy.allowIgnore"),
        "{}",
        refused.stderr
    );

    let _restored = Restored(installed);
    installed
        .upgrade(&["--set", "redirect.networkPolicy.allowIgnore=true"])
        .unwrap();
    installed
        .until("the policy is accepted", || server.space.apply(&manifest))
        .unwrap();
    server.expect_outside(true);
    server.until_condition("False", "Ignored");
    // The condition says that the consent is gone.
    installed.upgrade(&[]).unwrap();
    server.expect_outside(false);
    server.until_condition("True", "NotConsented");
}

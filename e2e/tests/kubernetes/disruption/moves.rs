//! Pods are created, moved and deleted.

use std::net::IpAddr;

use anyhow::ensure;
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPod, Installation, condition};
use xdp_kubernetes::Node;
use xdp_lab::UdpSender;

use super::{Game, LogsOnFailure};
use crate::fixture::deliver;

const PODS: usize = 20;
const HERD: u32 = 9;
const HERDED: &str = "{name: herded, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 9}";

#[test]
fn pods_that_move_to_another_node_keep_their_policy() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "moving");
    game.space.policy("herd", "herd", &[HERDED]).unwrap();
    game.with_traffic(|_| {
        for node in [1, 2, 1] {
            game.space.deployment("herd", Some(node), 2).unwrap();
            let there = installed.node(node);
            let pods = installed.until(format!("all are on {}", there.name), || {
                let pods = game.space.pods_of("herd", 2)?;
                ensure!(pods.iter().all(|pod| pod.node.name == there.name), "{pods:?}");
                Ok(pods)
            });
            enforced_only_on(&game, there);
            let status = game
                .space
                .until_policy("herd", "is programmed there, and only there", |policy| {
                    is_programmed(policy)
                        && policy["status"]["nodes"] == json!({"selected": 1, "programmed": 1})
                        && policy["status"]["pods"] == json!({"selected": 2, "programmed": 2})
                });
            status.unwrap();
            for pod in &pods.unwrap() {
                let counts = deliver(installed, pod, 50);
                assert_eq!(counts.with_mark("UDP", HERD), 50, "{counts:?}");
            }
        }
    });
}

/// New pods reuse the addresses of deleted ones and must not be matched by the old policy.
#[test]
fn twenty_pods_come_and_go_and_neither_resources_nor_rules_for_their_addresses_are_left() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "scaling");
    game.space.policy("herd", "herd", &[HERDED]).unwrap();
    game.space.policy("all", "no-pods", &[HERDED]).unwrap();
    game.with_traffic(|_| {
        let before = open_resources(installed, 1);
        rewind_addresses(installed);
        game.space.deployment("herd", None, PODS as u32).unwrap();
        let pods = game.space.pods_of("herd", PODS).unwrap();
        let policy = game.space.until_programmed("herd", PODS as u64).unwrap();
        assert_eq!(policy["status"]["nodes"], json!({"selected": 2, "programmed": 2}));
        assert_eq!(policy["status"]["pods"]["selected"], PODS);
        each_gets_its_own(installed, &pods);

        game.space
            .kubectl(&["scale", "deployment", "herd", "--replicas=0"])
            .unwrap();
        // Without waiting for agents: rules of the old pods must not apply to the new ones.
        until_free(installed, &pods);
        rewind_addresses(installed);
        game.space.deployment("plain", None, PODS as u32 / 2).unwrap();
        let plain = game.space.pods_of("plain", PODS / 2).unwrap();
        let old: Vec<IpAddr> = pods.iter().map(ClusterPod::v4).collect();
        let reused = plain.iter().filter(|pod| old.contains(&pod.v4())).count();
        println!("{reused} of {} addresses are reused", plain.len());
        assert!(reused > PODS / 4, "{plain:?}");
        for pod in &plain {
            let counts = deliver(installed, pod, 20);
            assert_eq!(counts.with_mark("UDP", 0), 20, "{counts:?}");
        }

        let policy = game.space.until_programmed("herd", 0).unwrap();
        assert_eq!(policy["status"]["pods"]["selected"], 0);
        // A running reconcile also has files open.
        let as_before = installed.until("pins and files are as before", || {
            let now = open_resources(installed, 1);
            ensure!(now == before, "{now:?}, not {before:?}");
            Ok(())
        });
        as_before.unwrap();
    });
    game.space.kubectl(&["delete", "pod", "ptp", "bridge"]).unwrap();
    open_resources(installed, 0);
}

/// Waits for the states of the nodes: until these are updated, the policy's status still describes the
/// previous pods and looks the same.
fn enforced_only_on(game: &Game<'_>, there: &Node) {
    for node in game.installed.nodes() {
        let pods = if node.name == there.name { 2 } else { 0 };
        let what = format!("the policy herd has {pods} pods");
        let moved = game.installed.until_node_state(&what, node, |state| {
            let policies = state["status"]["policies"].as_array().into_iter().flatten();
            let mut herds =
                policies.filter(|policy| policy["namespace"] == game.space.name && policy["name"] == "herd");
            herds
                .next()
                .map_or(0, |herd| herd["pods"]["programmed"].as_u64().unwrap_or_default())
                == pods
        });
        moved.unwrap();
    }
}

fn is_programmed(policy: &Value) -> bool {
    condition(policy, "Programmed").is_some_and(|programmed| programmed["status"] == "True")
}

/// Sends to all pods in turn, then compares their counts.
fn each_gets_its_own(installed: &Installation, pods: &[ClusterPod<'_>]) {
    let mut senders: Vec<UdpSender> = pods
        .iter()
        .map(|pod| UdpSender::new(installed.client(), pod.udp()).unwrap())
        .collect();
    for _ in 0..20 {
        for sender in &mut senders {
            sender.send_paced(1, 1000).unwrap();
        }
    }
    for (pod, sender) in pods.iter().zip(&senders) {
        let arrived = installed.until(format!("all arrive at {}", pod.name), || {
            let counts = pod.counts()?;
            ensure!(counts.of_stream(sender.stream()) == 20, "{counts:?}");
            Ok(counts)
        });
        assert_eq!(arrived.unwrap().with_mark("UDP", HERD), 20);
    }
}

/// Waits until the network plugins have released the pods' addresses and removed the routes to them.
fn until_free(installed: &Installation, pods: &[ClusterPod<'_>]) {
    let free = installed.until("the addresses are free", || {
        for node in installed.nodes() {
            let taken = node.exec_ok(&["bash", "-c", "ls /run/cni/e2e; ip route show"])?;
            let own = pods.iter().filter(|pod| pod.node.name == node.name);
            let is_taken = |address: IpAddr| {
                let first = |line: &str| line.split(' ').next() == Some(&address.to_string());
                taken.lines().any(first)
            };
            let left = own.filter(|pod| is_taken(pod.v4()));
            ensure!(left.count() == 0, "{taken}");
        }
        Ok(())
    });
    free.unwrap();
}

/// Makes the allocator of the network plugins start at the lowest address, so that released addresses are
/// reused at once.
///
/// This is sooner than in a real cluster: a node with a bridge still has neighbour entries of the old pods,
/// and a new pod's gratuitous ARP (`arp_notify`) is lost while the bridge does not forward for its port yet.
/// So the neighbour entries are flushed. `ip` fails if entries come back during the flush, which the traffic
/// causes.
fn rewind_addresses(installed: &Installation) {
    for node in installed.nodes() {
        node.exec_ok(&[
            "bash",
            "-c",
            "rm /run/cni/e2e/last_reserved_ip.* && (ip neigh flush all || true)",
        ])
        .unwrap();
    }
}

/// Returns, for each node, the pins and the number of files that the agent has open, without sockets. Waits
/// until the agents have exactly `pods` target pods and no reconcile is running, because a reconcile opens
/// files.
fn open_resources(installed: &Installation, pods: u64) -> Vec<(Vec<String>, usize)> {
    let nodes = installed.nodes().iter();
    nodes
        .map(|node| open_resources_on(installed, node, pods))
        .collect()
}

fn open_resources_on(installed: &Installation, node: &Node, pods: u64) -> (Vec<String>, usize) {
    let mut last = None;
    let stable = installed.until(
        format!("{} has {pods} target pods and no running reconcile", node.name),
        || {
            let known = installed.agent_metrics(node)?.sum("xdp_agent_pods", &[]) as u64;
            let pins = installed.pins(node)?;
            let readers = pins.iter().filter(|pin| pin.contains("/reader-")).count();
            ensure!(
                (known, readers) == (pods, pods as usize),
                "{known}, and {readers} readers"
            );
            let pid = installed.agent_pid(node)?;
            // `ls` fails if the agent closes a file while it lists them.
            let files = node.exec(&["ls", "-l", &format!("/proc/{pid}/fd")])?.stdout;
            let files = files.lines().filter(|file| !file.contains("socket:")).count();
            let now = (pins, files);
            let before = last.replace(now.clone());
            ensure!(before.as_ref() == Some(&now), "{now:?}, and {before:?} before");
            Ok(now)
        },
    );
    stable.unwrap()
}

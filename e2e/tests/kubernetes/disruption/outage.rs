//! The API server is unavailable.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, http_get};
use xdp_kubernetes::Node;

use super::{Game, LogsOnFailure, MARK, programs, traffic::Traffic, until_ready};
use crate::fixture::deliver;

const AWAY: Duration = Duration::from_mins(1);
/// Time until a policy is programmed once the API server is back. Agents retry every 8 to 16 s; the rest is
/// for a busy machine (2 to 12 s were measured).
const SOON: Duration = Duration::from_mins(1);

/// During the outage an agent, a container and a pod sandbox are killed; a policy is created right before it.
#[test]
fn a_minute_without_api_server_costs_no_packet_and_what_happened_meanwhile_shows_soon_after() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "outage");
    let more = [
        ClusterPodSpec::new("victim", "victim", 2),
        ClusterPodSpec::new("late", "late", 1),
    ];
    let more = game.space.pods(&more).unwrap();
    let [victim, late] = &more[..] else {
        panic!("two pods were created")
    };
    game.space.policy("victim", "victim", &[&rule(MARK)]).unwrap();
    game.space.until_programmed("victim", 1).unwrap();
    let agents = until_ready(installed, "agent", |_| true);
    let operators = until_ready(installed, "operator", |_| true);
    let before = programs(installed);

    game.with_traffic(|traffic| {
        game.space.policy("late", "late", &[&rule(7)]).unwrap();
        installed.stop_apiserver().unwrap();
        let gone = Instant::now();
        kill_agent(installed, traffic);
        kill_container(installed, late);
        kill_sandbox(victim);
        while gone.elapsed() < AWAY {
            traffic.send_more(500);
        }
        // The attached programs are unchanged.
        assert_eq!(programs(installed), before);
        installed.start_apiserver().unwrap();

        let back = Instant::now();
        game.space.policy("late", "late", &[&rule(8)]).unwrap();
        until_programmed(installed, &game, late);
        let took = back.elapsed();
        println!("a policy is programmed {took:?} after the API server was back");
        assert!(took < SOON, "{took:?}");
        assert_eq!(deliver(installed, late, 100).with_mark("UDP", 8), 100);
        // The node controller marks nodes as unreachable until its own watch works again, after up to a
        // minute (client-go's reflector).
        installed.wait_ready().unwrap();
        game.space.until_programmed("late", 1).unwrap();
        println!("and its status says so after {:?}", back.elapsed());

        let victim = moved(installed, &game, victim);
        until_marked(installed, &victim);
        game.space.until_programmed("victim", 1).unwrap();
        traffic.send_more(500);
    });
    installed.wait_ready().unwrap();
    assert_eq!(programs(installed), before);
    // Only killed containers were restarted. The former leader exits only if the other operator leads now.
    let now = until_ready(installed, "agent", |_| true);
    let restarts = |of: &[super::PodInstance]| of.iter().map(|instance| instance.restarts).sum::<u64>();
    assert_eq!(restarts(&now), restarts(&agents) + 1, "{agents:?}, then {now:?}");
    let now = until_ready(installed, "operator", |_| true);
    assert!(
        restarts(&now) <= restarts(&operators) + 1,
        "{operators:?}, then {now:?}"
    );
}

/// Waits until the pod's node reports the newest version of the policy with the pod's name.
fn until_programmed(installed: &Installation, game: &Game<'_>, pod: &ClusterPod<'_>) {
    let policy = installed.api(&game.space.policy_path(&pod.name)).unwrap();
    let wanted = &policy["metadata"];
    let until = installed.until_node_state("reports the policy", pod.node, |state| {
        let policies = state["status"]["policies"].as_array();
        policies.into_iter().flatten().any(|policy| {
            policy["uid"] == wanted["uid"]
                && policy["observedGeneration"] == wanted["generation"]
                && policy["programmed"] == true
        })
    });
    until.unwrap();
}

/// Waits until all packets to the pod carry their mark. The policy's status is no sign of this: until the
/// agent has reconciled, it describes the previous pod.
pub(super) fn until_marked(installed: &Installation, pod: &ClusterPod<'_>) {
    let until = installed.until(format!("packets to {} carry their mark", pod.name), || {
        let marked = pod.counts()?.with_mark("UDP", MARK);
        let marked = deliver(installed, pod, 100).with_mark("UDP", MARK) - marked;
        ensure!(marked == 100, "{marked} of 100 carry it");
        Ok(())
    });
    until.unwrap();
}

fn rule(mark: u32) -> String {
    format!("{{name: players, ports: [{{protocol: UDP, port: 7777}}], action: Redirect, mark: {mark}}}")
}

/// Kills an agent. The new one has no objects: it changes nothing, is live, and is not ready.
fn kill_agent(installed: &Installation, traffic: &Traffic<'_>) {
    let node = installed.node(1);
    let old = installed.agent_pid(node).unwrap();
    node.exec_ok(&["kill", "-KILL", &old.to_string()]).unwrap();
    let probe = |path| http_get(&node.namespace, SocketAddr::from(([127, 0, 0, 1], 9466)), path);
    let another = installed.until("another agent is live, without any objects", || {
        ensure!(installed.agent_pid(node)? != old);
        let live = probe("/healthz")?;
        ensure!(live.status == 200, "{}", live.body);
        Ok(())
    });
    another.unwrap();
    traffic.send_more(500);
    assert_eq!(probe("/readyz").unwrap().status, 503);
}

/// Kills the pod's container. The kubelet restarts it in the same network namespace.
fn kill_container(installed: &Installation, pod: &ClusterPod<'_>) {
    let netns = netns_of(pod.node, pod.v4());
    let pids = pod.node.exec_ok(&["ip", "netns", "pids", &netns]).unwrap();
    let script = format!(
        "for pid in {}; do [ $(cat /proc/$pid/comm) = workload ] && echo $pid; done; true",
        pids.replace('\n', " ")
    );
    let workload = pod.node.exec_ok(&["bash", "-c", &script]).unwrap();
    let pid = workload
        .split_whitespace()
        .max_by_key(|pid| pid.parse::<u32>().unwrap())
        .unwrap();
    deliver(installed, pod, 10);
    pod.node.exec_ok(&["kill", "-KILL", pid]).unwrap();
    let again = installed.until("the container was started again", || {
        let counts = pod.counts()?;
        ensure!(counts.streams.is_empty(), "{counts:?}");
        Ok(())
    });
    again.unwrap();
    deliver(installed, pod, 100);
}

/// Kills the pod's sandbox. The kubelet creates another one with another address.
fn kill_sandbox(pod: &ClusterPod<'_>) {
    let netns = netns_of(pod.node, pod.v4());
    let kill = format!("ip netns pids {netns} | xargs kill -KILL");
    pod.node.exec_ok(&["bash", "-c", &kill]).unwrap();
}

/// Returns the name of the network namespace on the node that has an address.
fn netns_of(node: &Node, address: IpAddr) -> String {
    let script = format!(
        "for name in $(ls /run/netns); do \
           ip -netns $name -oneline addr show | grep -q ' {address}/' && echo $name; done; true"
    );
    let found = node.exec_ok(&["bash", "-c", &script]).unwrap();
    let name = found.split_whitespace().next();
    name.with_context(|| format!("{address} is on no pod of {}", node.name))
        .unwrap()
        .to_owned()
}

/// Waits until the pod has another address, and returns the pod.
fn moved<'a>(installed: &Installation, game: &Game<'a>, old: &ClusterPod<'_>) -> ClusterPod<'a> {
    let moved = installed.until(format!("{} has another address", old.name), || {
        let pod = game.space.wait_pod(&old.name)?;
        ensure!(pod.v4() != old.v4(), "it has {}", pod.v4());
        Ok(pod)
    });
    moved.unwrap()
}

//! Nobody hears from the API server.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use xdp_e2e::installed::{Installed, Pod, PodSpec, http_get};
use xdp_kubernetes::Node;

use super::{Evidence, Game, MARK, programs, traffic::Traffic, until_lives};
use crate::world::deliver;

const AWAY: Duration = Duration::from_mins(1);
/// In which a policy is in force, once the API server is back: agents look again every 8 s, plus as much at random. The
/// rest is for a machine that is busy with something else (2 to 12 s were seen).
const SOON: Duration = Duration::from_mins(1);

/// Meanwhile an agent is killed, a container is, and a pod with its network; and a policy came right before.
#[test]
fn a_minute_without_api_server_costs_no_packet_and_what_happened_meanwhile_shows_soon_after() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    let _evidence = Evidence(installed);
    let game = Game::new(installed, "outage");
    let more = [
        PodSpec::new("victim", "victim", 2),
        PodSpec::new("late", "late", 1),
    ];
    let more = game.space.pods(&more).unwrap();
    let [victim, late] = &more[..] else {
        panic!("two were made")
    };
    game.space.policy("victim", "victim", &[&rule(MARK)]).unwrap();
    game.space.until_programmed("victim", 1).unwrap();
    let agents = until_lives(installed, "agent", |_| true);
    let operators = until_lives(installed, "operator", |_| true);
    let before = programs(installed);

    game.play(|traffic| {
        game.space.policy("late", "late", &[&rule(7)]).unwrap();
        installed.stop_apiserver().unwrap();
        let gone = Instant::now();
        kill_agent(installed, traffic);
        kill_container(installed, late);
        kill_sandbox(victim);
        while gone.elapsed() < AWAY {
            traffic.more(500);
        }
        // Nobody has touched what was in force.
        assert_eq!(programs(installed), before);
        installed.start_apiserver().unwrap();

        let back = Instant::now();
        game.space.policy("late", "late", &[&rule(8)]).unwrap();
        until_programmed(installed, &game, late);
        let took = back.elapsed();
        println!("a policy is in force {took:?} after the API server was back");
        assert!(took < SOON, "{took:?}");
        assert_eq!(deliver(installed, late, 100).with_mark("UDP", 8), 100);
        // Not before Kubernetes itself hears from the nodes again: its node controller looks again after up to a minute
        // (client-go's reflector), and calls them unreachable until then.
        installed.wait_ready().unwrap();
        game.space.until_programmed("late", 1).unwrap();
        println!("and its status says so {:?} after", back.elapsed());

        let victim = moved(installed, &game, victim);
        until_marked(installed, &victim);
        game.space.until_programmed("victim", 1).unwrap();
        traffic.more(500);
    });
    installed.wait_ready().unwrap();
    assert_eq!(programs(installed), before);
    // Only what the test has killed was started again; the operator that led ends only if the other one leads now.
    let now = until_lives(installed, "agent", |_| true);
    let restarts = |of: &[super::Life]| of.iter().map(|life| life.restarts).sum::<u64>();
    assert_eq!(restarts(&now), restarts(&agents) + 1, "{agents:?}, then {now:?}");
    let now = until_lives(installed, "operator", |_| true);
    assert!(
        restarts(&now) <= restarts(&operators) + 1,
        "{operators:?}, then {now:?}"
    );
}

/// The pod's node reports the newest version of the policy that bears the pod's name.
fn until_programmed(installed: &Installed, game: &Game<'_>, pod: &Pod<'_>) {
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

/// All packets to the pod take the fast way. Before its agent has looked again, what is said of the policy is about the pod
/// as it was, so that is no sign.
pub(super) fn until_marked(installed: &Installed, pod: &Pod<'_>) {
    let until = installed.until(format!("packets to {} carry their mark", pod.name), || {
        let marked = pod.counts()?.with_mark("UDP", MARK);
        let marked = deliver(installed, pod, 100).with_mark("UDP", MARK) - marked;
        ensure!(marked == 100, "{marked} of 100 do");
        Ok(())
    });
    until.unwrap();
}

fn rule(mark: u32) -> String {
    format!("{{name: players, ports: [{{protocol: UDP, port: 7777}}], action: Redirect, mark: {mark}}}")
}

/// The agent that comes instead knows no objects: it lets everything as it is, lives, and is not ready.
fn kill_agent(installed: &Installed, traffic: &Traffic<'_>) {
    let node = installed.node(1);
    let old = installed.agent_pid(node).unwrap();
    node.exec_ok(&["kill", "-KILL", &old.to_string()]).unwrap();
    let server = SocketAddr::from((node.addresses.v4, 9465));
    let ready = || http_get(installed.control(), server, "/readyz").map(|reply| reply.status);
    let another = installed.until("another agent lives, without knowing any objects", || {
        ensure!(installed.agent_pid(node)? != old);
        let live = http_get(installed.control(), server, "/healthz")?;
        ensure!(live.status == 200, "{}", live.body);
        Ok(())
    });
    another.unwrap();
    traffic.more(500);
    assert_eq!(ready().unwrap(), 503);
}

/// The kubelet starts it again, in the same network namespace.
fn kill_container(installed: &Installed, pod: &Pod<'_>) {
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

/// The kubelet makes another one, with another address.
fn kill_sandbox(pod: &Pod<'_>) {
    let netns = netns_of(pod.node, pod.v4());
    let kill = format!("ip netns pids {netns} | xargs kill -KILL");
    pod.node.exec_ok(&["bash", "-c", &kill]).unwrap();
}

/// The network namespace that has an address, by its name on the node.
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

/// The pod with its new address.
fn moved<'a>(installed: &Installed, game: &Game<'a>, old: &Pod<'_>) -> Pod<'a> {
    let moved = installed.until(format!("{} has another address", old.name), || {
        let pod = game.space.wait_pod(&old.name)?;
        ensure!(pod.v4() != old.v4(), "it has {}", pod.v4());
        Ok(pod)
    });
    moved.unwrap()
}

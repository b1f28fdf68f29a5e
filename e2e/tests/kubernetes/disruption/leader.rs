//! The operator that leads ends, or hangs.

use std::time::{Duration, Instant};

use serde_json::Value;
use xdp_e2e::installed::{Installed, NAMESPACE, PodSpec};
use xdp_kubernetes::Node;

use super::{Evidence, until_lives};
use crate::world::PLAYERS;

/// How long a leader may be silent, and how long another takes to look again.
const LEASE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(2_400);
/// For a round, and a machine that is busy with something else.
const SLACK: Duration = Duration::from_secs(15);

/// What hangs is a process that is stopped: it comes to itself when another leads, and must end.
#[test]
fn when_the_leader_hangs_the_other_takes_over_within_the_lease_and_the_first_one_ends() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    let _evidence = Evidence(installed);
    let space = installed.space("hanging").unwrap();
    space.pod(&PodSpec::new("pod", "game", 1)).unwrap();
    let operators = until_lives(installed, "operator", |_| true);
    let leader = holder(installed);
    let (node, pid) = process_of(installed, &leader);
    let frozen = installed.freeze(node, pid).unwrap();
    let since = Instant::now();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    let took = since.elapsed();
    println!("another led after at most {took:?}");
    assert!(took < LEASE + RETRY + SLACK, "{took:?}");
    let next = holder(installed);
    assert_ne!(next, leader);
    drop(frozen);
    let now = until_lives(installed, "operator", |now| {
        restarts_of(now, &leader) > restarts_of(&operators, &leader)
    });
    assert_eq!(restarts_of(&now, &next), restarts_of(&operators, &next));
    assert_eq!(holder(installed), next);
}

/// Its container starts anew under the same name, or the other one is faster: nobody needs to know who it is.
#[test]
fn when_the_leader_is_killed_policies_get_their_status_within_the_lease() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    let _evidence = Evidence(installed);
    let space = installed.space("headless").unwrap();
    space.pod(&PodSpec::new("pod", "game", 2)).unwrap();
    let operators = until_lives(installed, "operator", |_| true);
    let leader = holder(installed);
    let (node, pid) = process_of(installed, &leader);
    node.exec_ok(&["kill", "-KILL", &pid.to_string()]).unwrap();
    let since = Instant::now();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    let took = since.elapsed();
    println!(
        "somebody led after at most {took:?}: {leader}, then {}",
        holder(installed)
    );
    assert!(took < LEASE + RETRY + SLACK, "{took:?}");
    until_lives(installed, "operator", |now| {
        restarts_of(now, &leader) > restarts_of(&operators, &leader)
    });
}

/// Whom the Lease names; somebody who is there.
fn holder(installed: &Installed) -> String {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/xdp-operator");
    let holder = installed.until("somebody leads", || {
        let lease = installed.api(&path)?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let operators = installed.components("operator")?;
        let mut names = operators.iter().map(|pod| &pod["metadata"]["name"]);
        anyhow::ensure!(names.any(|name| *name == holder), "{:#}", lease["spec"]);
        Ok(holder.to_owned())
    });
    holder.unwrap()
}

fn process_of<'a>(installed: &'a Installed, pod: &str) -> (&'a Node, u32) {
    let pods = installed.components("operator").unwrap();
    let object: &Value = pods
        .iter()
        .find(|object| object["metadata"]["name"] == pod)
        .unwrap();
    let mut nodes = installed.nodes().iter();
    let node = nodes
        .find(|node| object["spec"]["nodeName"] == *node.name)
        .unwrap();
    let pid = installed
        .pid_with(node, "xdp-operator", &format!("POD_NAME={pod}"))
        .unwrap();
    (node, pid)
}

fn restarts_of(lives: &[super::Life], name: &str) -> u64 {
    let life = lives.iter().find(|life| life.name == name);
    life.map_or(0, |life| life.restarts)
}

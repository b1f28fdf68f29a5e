//! The leading operator is killed, or hangs.

use std::time::{Duration, Instant};

use serde_json::Value;
use xdp_e2e::installed::{ClusterPodSpec, Installation, NAMESPACE};
use xdp_kubernetes::Node;

use super::{LogsOnFailure, until_ready};
use crate::fixture::PLAYERS;

/// Duration of the lease, and the interval at which other operators check it.
const LEASE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(2_400);
/// For a reconcile on a busy machine.
const SLACK: Duration = Duration::from_secs(15);

/// Stops the leader's process. When it continues, another operator leads, and it must exit.
#[test]
fn when_the_leader_hangs_the_other_takes_over_within_the_lease_and_the_first_one_ends() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let space = installed.space("hanging").unwrap();
    space.pod(&ClusterPodSpec::new("pod", "game", 1)).unwrap();
    let operators = until_ready(installed, "operator", |_| true);
    let leader = holder(installed);
    let (node, pid) = process_of(installed, &leader);
    let frozen = installed.freeze(node, pid).unwrap();
    let since = Instant::now();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    let took = since.elapsed();
    println!("another operator led after at most {took:?}");
    assert!(took < LEASE + RETRY + SLACK, "{took:?}");
    let next = holder(installed);
    assert_ne!(next, leader);
    drop(frozen);
    let now = until_ready(installed, "operator", |now| {
        restarts_of(now, &leader) > restarts_of(&operators, &leader)
    });
    assert_eq!(restarts_of(&now, &next), restarts_of(&operators, &next));
    assert_eq!(holder(installed), next);
}

/// The restarted container has the same name, so either operator may become the leader.
#[test]
fn when_the_leader_is_killed_policies_get_their_status_within_the_lease() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let space = installed.space("headless").unwrap();
    space.pod(&ClusterPodSpec::new("pod", "game", 2)).unwrap();
    let operators = until_ready(installed, "operator", |_| true);
    let leader = holder(installed);
    let (node, pid) = process_of(installed, &leader);
    node.exec_ok(&["kill", "-KILL", &pid.to_string()]).unwrap();
    let since = Instant::now();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    let took = since.elapsed();
    println!(
        "an operator led after at most {took:?}: {leader}, then {}",
        holder(installed)
    );
    assert!(took < LEASE + RETRY + SLACK, "{took:?}");
    until_ready(installed, "operator", |now| {
        restarts_of(now, &leader) > restarts_of(&operators, &leader)
    });
}

/// Waits until the Lease names a pod that exists, and returns its name.
fn holder(installed: &Installation) -> String {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/xdp-operator");
    let holder = installed.until("an existing operator holds the Lease", || {
        let lease = installed.api(&path)?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let operators = installed.components("operator")?;
        let mut names = operators.iter().map(|pod| &pod["metadata"]["name"]);
        anyhow::ensure!(names.any(|name| *name == holder), "{:#}", lease["spec"]);
        Ok(holder.to_owned())
    });
    holder.unwrap()
}

fn process_of<'a>(installed: &'a Installation, pod: &str) -> (&'a Node, u32) {
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

fn restarts_of(instances: &[super::PodInstance], name: &str) -> u64 {
    let instance = instances.iter().find(|instance| instance.name == name);
    instance.map_or(0, |instance| instance.restarts)
}

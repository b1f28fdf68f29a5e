//! Failures, upgrades and removals under traffic: no packet is lost, and the status stays correct.

mod killed;
mod leader;
mod moves;
mod node_down;
mod outage;
mod rendered;
mod traffic;
mod uninstall;
mod upgrade;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use serde_json::Value;
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, Space, is_ready};
use xdp_kubernetes::Node;

use self::traffic::{Traffic, under_traffic};
use crate::fixture::{PLAYERS, Rule};

/// A pod on each node, and a policy that gives all their datagrams a mark.
struct Game<'a> {
    installed: &'a Installation,
    space: Space<'a>,
    pods: Vec<ClusterPod<'a>>,
}

const MARK: u32 = 42;

impl<'a> Game<'a> {
    fn new(installed: &'a Installation, name: &str) -> Self {
        let space = installed.space(name).unwrap();
        let pods = space
            .pods(&[
                ClusterPodSpec::new("ptp", "game", 1),
                ClusterPodSpec::new("bridge", "game", 2),
            ])
            .unwrap();
        space.policy("game", "game", &[PLAYERS]).unwrap();
        space.until_programmed("game", 2).unwrap();
        Self {
            installed,
            space,
            pods,
        }
    }

    /// Runs `during` while traffic goes to both pods. Afterwards every datagram must have arrived once, with
    /// its mark, and must have been counted by the rule.
    fn with_traffic<T>(&self, during: impl FnOnce(&Traffic<'_>) -> T) -> T {
        self.with_traffic_to(&self.pods, during)
    }

    /// Runs `during` while traffic goes to these pods, which must exist until the end.
    fn with_traffic_to<T>(&self, pods: &[ClusterPod<'_>], during: impl FnOnce(&Traffic<'_>) -> T) -> T {
        let (result, traffic) = under_traffic(self.installed.client(), pods, during);
        for pod in pods {
            let (sent, counts) = (traffic.sent_to(pod), pod.counts().unwrap());
            assert_eq!(counts.with_mark("UDP", MARK), sent, "to {}: {counts:?}", pod.name);
            self.rule()
                .expect(pod, &[("redirected", sent), ("delivered", sent)]);
        }
        result
    }

    fn rule(&self) -> Rule<'_> {
        Rule {
            installed: self.installed,
            space: &self.space,
            policy: "game",
            name: "players",
        }
    }
}

/// Prints the logs of operator and agents when a test fails.
struct LogsOnFailure<'a>(&'a Installation);

impl Drop for LogsOnFailure<'_> {
    fn drop(&mut self) {
        const LINES: usize = 25;
        if !std::thread::panicking() {
            return;
        }
        let node_logs = self.0.nodes().iter().map(|node| format!("{}-pods", node.name));
        for file in node_logs.flat_map(|folder| logs(&self.0.logs().join(folder))) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LINES)..];
            println!("{}:\n{}\n", file.display(), tail.join("\n"));
        }
    }
}

/// Returns the log files of all containers of operator and agents, also of those that ended.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let pods = entries(folder).into_iter().filter(|pod| {
        let name = pod.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("xdp-system_")
    });
    let containers = pods.flat_map(|pod| entries(&pod));
    let mut files: Vec<PathBuf> = containers.flat_map(|container| entries(&container)).collect();
    files.sort();
    files
}

/// Returns the id of the program on each node's NIC.
fn programs(installed: &Installation) -> Vec<u64> {
    let of = |node: &Node| installed.programs(node).unwrap().get("eth0").copied();
    let nodes = installed.nodes().iter();
    nodes
        .map(|node| of(node).unwrap_or_else(|| panic!("{} has none", node.name)))
        .collect()
}

/// Name, uid and restarts of a pod of the operator or an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PodInstance {
    name: String,
    uid: String,
    restarts: u64,
}

impl PodInstance {
    fn all(pods: &[Value]) -> Vec<Self> {
        let mut instances: Vec<Self> = pods.iter().map(Self::of).collect();
        instances.sort();
        instances
    }

    fn of(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            restarts: pod["status"]["containerStatuses"][0]["restartCount"]
                .as_u64()
                .unwrap_or_default(),
        }
    }
}

/// Returns all pods of a component.
fn instances(installed: &Installation, component: &str) -> Vec<PodInstance> {
    PodInstance::all(&installed.components(component).unwrap())
}

/// Waits until a component has two ready pods that match `wanted`.
fn until_ready(
    installed: &Installation,
    component: &str,
    wanted: impl Fn(&[PodInstance]) -> bool,
) -> Vec<PodInstance> {
    let until = installed.until(format!("two pods of {component} are ready, and match"), || {
        let pods = installed.components(component)?;
        let instances = PodInstance::all(&pods);
        ensure!(
            pods.len() == 2 && pods.iter().all(is_ready) && wanted(&instances),
            "there are {instances:?}"
        );
        Ok(instances)
    });
    until.unwrap()
}

/// Returns whether none of the pods existed before.
fn all_replaced(before: &[PodInstance], now: &[PodInstance]) -> bool {
    now.iter().all(|new| before.iter().all(|old| old.uid != new.uid))
}

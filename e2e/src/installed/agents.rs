//! The agents' pods and processes.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xdp_kubernetes::Node;

use super::{Installation, NAMESPACE};

/// A stopped process of a node. It continues on drop.
#[derive(Debug)]
pub struct Frozen<'a> {
    node: &'a Node,
    pid: u32,
}

impl Installation {
    /// Returns the pod objects of a component (`agent`, `operator`).
    pub fn components(&self, component: &str) -> anyhow::Result<Vec<Value>> {
        self.list(&format!(
            "/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/component%3D{component}"
        ))
    }

    /// Returns the pod object of a node's agent.
    pub fn agent_pod(&self, node: &Node) -> anyhow::Result<Value> {
        let mut pods = self.components("agent")?.into_iter();
        let own = pods.find(|pod| {
            pod["spec"]["nodeName"] == *node.name && pod["metadata"]["deletionTimestamp"].is_null()
        });
        own.with_context(|| format!("{} has no agent", node.name))
    }

    /// Returns the process id of a node's agent in the node's pid namespace.
    pub fn agent_pid(&self, node: &Node) -> anyhow::Result<u32> {
        // `xdp-agent flows` and other subcommands are short-lived processes of the same name.
        self.until(format!("{} has one agent", node.name), || pid(node, "xdp-agent"))
    }

    /// Stops a node's agent (SIGSTOP) until the result is dropped. After a minute its liveness probe would
    /// have it killed.
    pub fn freeze_agent<'a>(&self, node: &'a Node) -> anyhow::Result<Frozen<'a>> {
        self.freeze(node, self.agent_pid(node)?)
    }

    /// Stops a process of a node until the result is dropped.
    pub fn freeze<'a>(&self, node: &'a Node, pid: u32) -> anyhow::Result<Frozen<'a>> {
        node.exec_ok(&["kill", "-STOP", &pid.to_string()])?;
        Ok(Frozen { node, pid })
    }

    /// Deletes the pod of a node's agent, and waits until another one is ready. The kubelet delays the start
    /// of a killed container, but not that of a new pod.
    pub fn replace_agent(&self, node: &Node) -> anyhow::Result<()> {
        let old = self.agent_pod(node)?["metadata"]["name"].clone();
        let name = old.as_str().context("a pod without a name")?;
        self.kubectl(&["delete", "pod", "-n", NAMESPACE, name])?;
        self.until(format!("{} has another agent", node.name), || {
            let pod = self.agent_pod(node)?;
            ensure!(is_ready(&pod), "it is not ready: {:#}", pod["status"]);
            Ok(())
        })
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = self.node.exec(&["kill", "-CONT", &self.pid.to_string()]);
    }
}

/// Returns whether a pod object has the condition `Ready`.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Finds the one process with this name, stopped or not.
fn pid(node: &Node, name: &str) -> anyhow::Result<u32> {
    let found = node.exec_ok(&["pgrep", "--exact", name])?;
    let mut pids = found.split_whitespace();
    match (pids.next(), pids.next()) {
        (Some(pid), None) => Ok(pid.parse()?),
        _ => anyhow::bail!(
            "{} does not have exactly one process {name}: {found:?}",
            node.name
        ),
    }
}

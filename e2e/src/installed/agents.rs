//! The agents' pods and processes.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xdp_kubernetes::Node;

use super::{Installed, NAMESPACE};

/// A process of a node that was stopped; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a> {
    node: &'a Node,
    pid: u32,
}

impl Installed {
    /// The pods of a component (`agent`, `operator`), as objects.
    pub fn components(&self, component: &str) -> anyhow::Result<Vec<Value>> {
        self.list(&format!(
            "/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/component%3D{component}"
        ))
    }

    /// The pod of a node's agent, as an object.
    pub fn agent_pod(&self, node: &Node) -> anyhow::Result<Value> {
        let mut pods = self.components("agent")?.into_iter();
        let own = pods.find(|pod| {
            pod["spec"]["nodeName"] == *node.name && pod["metadata"]["deletionTimestamp"].is_null()
        });
        own.with_context(|| format!("{} has no agent", node.name))
    }

    /// The process id of a node's agent, as the node counts.
    pub fn agent_pid(&self, node: &Node) -> anyhow::Result<u32> {
        // What somebody asks it (`xdp-agent flows`) is another process for a moment.
        self.until(format!("{} has one agent", node.name), || pid(node, "xdp-agent"))
    }

    /// Stop a node's agent (SIGSTOP): it neither acts nor reports until what is returned is dropped. Its liveness probe
    /// would have it killed after a minute.
    pub fn freeze_agent<'a>(&self, node: &'a Node) -> anyhow::Result<Frozen<'a>> {
        self.freeze(node, self.agent_pid(node)?)
    }

    /// Stop any process of a node until what is returned is dropped.
    pub fn freeze<'a>(&self, node: &'a Node, pid: u32) -> anyhow::Result<Frozen<'a>> {
        node.exec_ok(&["kill", "-STOP", &pid.to_string()])?;
        Ok(Frozen { node, pid })
    }

    /// Delete the pod of a node's agent, and wait until another one is ready. Unlike a killed container's, its start is
    /// not put off.
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

/// Whether a pod's object says so.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Of the one process with this name, stopped or not.
fn pid(node: &Node, name: &str) -> anyhow::Result<u32> {
    let found = node.exec_ok(&["pgrep", "--exact", name])?;
    let mut pids = found.split_whitespace();
    match (pids.next(), pids.next()) {
        (Some(pid), None) => Ok(pid.parse()?),
        _ => anyhow::bail!("not one process of {} is called {name}: {found:?}", node.name),
    }
}

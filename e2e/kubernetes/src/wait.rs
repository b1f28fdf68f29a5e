//! Waits for conditions of a cluster.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Cluster, PATIENCE};

impl Cluster {
    /// Waits until all running nodes are Ready, by a heartbeat from after their start.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let running = || self.nodes.iter().filter(|node| node.runs());
        self.wait_for("all nodes are Ready", PATIENCE, || {
            self.control.alive()?;
            let names: Vec<String> = running().map(|node| format!("node/{}", node.name)).collect();
            let mut arguments = vec!["wait", "--for=condition=Ready", "--timeout=5s"];
            arguments.extend(names.iter().map(String::as_str));
            self.kubectl(&arguments)?;
            let nodes = self.get(&["nodes"])?;
            for node in running() {
                let heartbeat = heartbeat(&nodes, &node.name);
                // A dead node stays Ready until the node controller notices.
                anyhow::ensure!(
                    node.since().is_none_or(|since| since.as_str() <= heartbeat),
                    "the last heartbeat of {} was at {heartbeat}",
                    node.name
                );
            }
            Ok(())
        })
    }

    /// Repeats `attempt` until it succeeds, and returns its value. On timeout, returns the error of the last
    /// attempt.
    ///
    /// Attempts usually start processes, so there is a pause between two of them.
    pub fn wait_for<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut attempt: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if start.elapsed() >= timeout => {
                    let logs = self.logs.display();
                    return Err(error.context(format!("{what}: not reached after {timeout:?}; logs: {logs}")));
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Returns the time of a node's last heartbeat.
fn heartbeat<'a>(nodes: &'a Value, name: &str) -> &'a str {
    let items = nodes["items"].as_array().into_iter().flatten();
    let mut conditions = items
        .filter(|node| node["metadata"]["name"] == name)
        .flat_map(|node| node["status"]["conditions"].as_array().into_iter().flatten());
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    ready
        .and_then(|ready| ready["lastHeartbeatTime"].as_str())
        .unwrap_or_default()
}

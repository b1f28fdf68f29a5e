//! Waiting for what a cluster does in its own time.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Cluster, PATIENCE};

impl Cluster {
    /// Wait until all nodes that run are Ready, by what they have said since they were started.
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
                // Until it is missed, a dead node is Ready.
                anyhow::ensure!(
                    node.since().is_none_or(|since| since.as_str() <= heartbeat),
                    "{} has last been heard of at {heartbeat}",
                    node.name
                );
            }
            Ok(())
        })
    }

    /// Try until it succeeds, and return what it returned; when time is up, the error says why it last did not.
    ///
    /// Every try is a process or more, so there is a pause in between.
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
                    return Err(
                        error.context(format!("{what}: still not so after {timeout:?}; logs: {logs}"))
                    );
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// When a node last said how it is.
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

//! The API server: what is written, and what it counts of it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xdp_e2e::installed::{Metrics, http_get, http_patch};
use xdp_kubernetes::{Cluster, PATIENCE};
use xdp_lab::Process;

/// In the control plane's namespace, where nothing else listens there.
const PORT: u16 = 8001;
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// What agents and operator read and write.
const KINDS: [&str; 5] = ["nodes", "pods", "xdpnodestates", "xdppeersets", "xdppolicies"];
/// A node's state is written at most once a second: whoever has been silent for longer has nothing to say.
const SILENCE: Duration = Duration::from_millis(1200);

/// By way of `kubectl proxy`, as the administrator.
pub(super) struct Server<'a> {
    cluster: &'a Cluster,
    _proxy: Process,
}

/// What the API server has counted since it was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Objects sent to watchers, by kind.
    events: BTreeMap<&'static str, f64>,
    /// Writes that it was asked for, by kind.
    writes: BTreeMap<&'static str, f64>,
    /// Requests but watches.
    pub(super) requests: f64,
    /// FrameBytes sent to watchers.
    pub(super) bytes: f64,
}

impl<'a> Server<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Result<Self> {
        let mut command = cluster.admin("kubectl");
        command
            .args(["proxy", "--port", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = Self {
            cluster,
            _proxy: cluster.control().spawn(command)?,
        };
        cluster.wait_for("kubectl proxy answers", PATIENCE, || server.get("/api"))?;
        Ok(server)
    }

    fn get(&self, path: &str) -> Result<String> {
        let reply = http_get(self.cluster.control(), PROXY, path)?;
        ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
        Ok(reply.body)
    }

    /// Changes an object.
    pub(super) fn patch(&self, path: &str, change: &Value) -> Result<()> {
        let reply = http_patch(self.cluster.control(), PROXY, path, &change.to_string())?;
        ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
        Ok(())
    }

    /// So far.
    pub(super) fn cost(&self) -> Result<Cost> {
        Ok(Cost::read(&Metrics::parse(self.get("/metrics")?)?))
    }

    /// Waits until nobody asks for anything any more. Watchers get bookmarks all the time.
    pub(super) fn settle(&self) -> Result<()> {
        let start = Instant::now();
        let mut last = self.cost()?.requests;
        loop {
            thread::sleep(SILENCE);
            let now = self.cost()?.requests;
            if (now - last).abs() < 0.5 {
                return Ok(());
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "there is no end of reading and writing"
            );
            last = now;
        }
    }
}

impl Cost {
    fn read(metrics: &Metrics) -> Self {
        let mut cost = Self::default();
        for kind in KINDS {
            let labels = [("resource", kind)];
            cost.events
                .insert(kind, metrics.sum("apiserver_watch_events_total", &labels));
            cost.bytes += metrics.sum("apiserver_watch_events_sizes_sum", &labels);
            let (mut requests, mut writes) = (0.0, 0.0);
            for sample in metrics.find("apiserver_request_total", &labels) {
                match sample.labels.get("verb").map(String::as_str) {
                    Some("WATCH") => {}
                    Some("GET" | "LIST") => requests += sample.value,
                    _ => {
                        requests += sample.value;
                        writes += sample.value;
                    }
                }
            }
            cost.requests += requests;
            cost.writes.insert(kind, writes);
        }
        cost
    }

    #[must_use]
    pub(super) fn since(&self, then: &Self) -> Self {
        let less = |now: &BTreeMap<&'static str, f64>, then: &BTreeMap<&'static str, f64>| {
            let before = |kind| then.get(kind).copied().unwrap_or(0.0);
            now.iter()
                .map(|(kind, value)| (*kind, value - before(*kind)))
                .collect()
        };
        Self {
            events: less(&self.events, &then.events),
            writes: less(&self.writes, &then.writes),
            requests: self.requests - then.requests,
            bytes: self.bytes - then.bytes,
        }
    }

    /// Objects sent to watchers.
    pub(super) fn sent(&self) -> f64 {
        self.events.values().sum()
    }

    /// Objects that each of the nodes reads that a change is not about. What is written is read by the operator, and by
    /// the node that it is about; all else by the others. The API server counts bookmarks as well, a few for hundreds of
    /// watches: whole objects are what is left of a kind.
    pub(super) fn reads_of_others(&self, nodes: usize) -> f64 {
        let others = self.events.iter().map(|(kind, sent)| {
            let written = self.writes.get(kind).copied().unwrap_or(0.0);
            ((sent - 2.0 * written) / (nodes - 1) as f64).max(0.0).round()
        });
        others.sum()
    }
}

/// For messages.
pub(super) fn tail(path: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_nodes_read_is_told_from_what_one_reads() {
        let text = "apiserver_watch_events_total{resource=\"pods\"} 2\n\
                    apiserver_watch_events_total{resource=\"xdppolicies\"} 22\n\
                    apiserver_request_total{resource=\"pods\",verb=\"PATCH\"} 1\n\
                    apiserver_request_total{resource=\"xdppolicies\",verb=\"APPLY\"} 2\n\
                    apiserver_request_total{resource=\"pods\",verb=\"WATCH\"} 9\n";
        let cost = Cost::read(&Metrics::parse(text.to_owned()).unwrap());
        assert!((cost.requests - 3.0).abs() < 1e-9);
        // Ten agents and the operator read both writes of the policy, the operator and one agent the pod.
        assert!((cost.reads_of_others(10) - 2.0).abs() < 1e-9, "{cost:?}");
    }
}

//! The API server: writes to it, and its own counts.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xdp_e2e::installed::{Scrape, http_get, http_patch};
use xdp_kubernetes::{Cluster, PATIENCE};
use xdp_lab::Process;

/// Port of the proxy in the control plane's namespace, which is free there.
const PORT: u16 = 8001;
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// Kinds that agents and operator read and write.
const KINDS: [&str; 5] = ["nodes", "pods", "xdpnodestates", "xdppeersets", "xdppolicies"];
/// Time without requests after which all writes are done: agents write a node's state at most once per
/// second.
const SILENCE: Duration = Duration::from_millis(1200);

/// Access to the API server through `kubectl proxy`, as the administrator.
pub(super) struct Server<'a> {
    cluster: &'a Cluster,
    _proxy: Process,
}

/// Counts of the API server since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Objects sent to watchers, by kind.
    events: BTreeMap<&'static str, f64>,
    /// Write requests, by kind.
    writes: BTreeMap<&'static str, f64>,
    /// Requests, except watches.
    pub(super) requests: f64,
    /// Bytes sent to watchers.
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

    /// Returns the current counts.
    pub(super) fn cost(&self) -> Result<Cost> {
        Ok(Cost::read(&Scrape::parse(self.get("/metrics")?)?))
    }

    /// Waits until there are no more requests. Bookmarks to watchers continue.
    pub(super) fn wait_idle(&self) -> Result<()> {
        let start = Instant::now();
        let mut last = self.cost()?.requests;
        loop {
            thread::sleep(SILENCE);
            let now = self.cost()?.requests;
            if (now - last).abs() < 0.5 {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "the API server still gets requests");
            last = now;
        }
    }
}

impl Cost {
    fn read(metrics: &Scrape) -> Self {
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

    /// Returns the objects that each unaffected node reads. The operator and the affected node read each
    /// written object; all other reads are of unaffected nodes. The API server also counts bookmarks, a few
    /// for hundreds of watches, so the number of each kind is rounded to whole objects.
    pub(super) fn reads_of_others(&self, nodes: usize) -> f64 {
        let others = self.events.iter().map(|(kind, sent)| {
            let written = self.writes.get(kind).copied().unwrap_or(0.0);
            ((sent - 2.0 * written) / (nodes - 1) as f64).max(0.0).round()
        });
        others.sum()
    }
}

/// Returns the last lines of a log.
pub(super) fn tail(path: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_all_nodes_are_distinguished_from_reads_of_one() {
        let text = "apiserver_watch_events_total{resource=\"pods\"} 2\n\
                    apiserver_watch_events_total{resource=\"xdppolicies\"} 22\n\
                    apiserver_request_total{resource=\"pods\",verb=\"PATCH\"} 1\n\
                    apiserver_request_total{resource=\"xdppolicies\",verb=\"APPLY\"} 2\n\
                    apiserver_request_total{resource=\"pods\",verb=\"WATCH\"} 9\n";
        let cost = Cost::read(&Scrape::parse(text.to_owned()).unwrap());
        assert!((cost.requests - 3.0).abs() < 1e-9);
        // Ten agents and the operator read both writes of the policy, the operator and one agent the pod.
        assert!((cost.reads_of_others(10) - 2.0).abs() < 1e-9, "{cost:?}");
    }
}

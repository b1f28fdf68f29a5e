//! The API server: writes to it, and its own counts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xdp_e2e::{
    installed::{Scrape, http_get, http_patch},
    simulated::ApiCost,
};
use xdp_kubernetes::{Cluster, PATIENCE};
use xdp_lab::Process;

/// Port of the proxy in the control plane's namespace, which is free there.
const PORT: u16 = 8001;
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// Time without requests after which all writes are done: agents write a node's state at most once per
/// second.
const SILENCE: Duration = Duration::from_millis(1200);

/// Access to the API server through `kubectl proxy`, as the administrator.
pub(super) struct Server<'a> {
    cluster: &'a Cluster,
    _proxy: Process,
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
    pub(super) fn cost(&self) -> Result<ApiCost> {
        Ok(ApiCost::read(&Scrape::parse(self.get("/metrics")?)?))
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

/// Returns the last lines of a log.
pub(super) fn tail(path: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
}

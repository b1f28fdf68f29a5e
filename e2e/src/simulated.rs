//! Many nodes without nodes: the real API server and the real operator, with objects as kubelets and agents
//! of thousands of nodes would write them.

mod cost;
mod monitor;
mod objects;
mod operator;
mod populate;
mod requests;
mod sets;
mod states;
mod storage;
mod watchers;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use xdp_kubernetes::{Cluster, ClusterOptions, PATIENCE};
use xdp_lab::{HttpRequest, HttpSession, Process};

pub use self::{
    cost::{ApiCost, KINDS},
    monitor::{Punctuality, PunctualityMonitor},
    objects::{CrowdPod, CrowdSize, CrowdSource, WIDE, node_name, policy_name, selected_by},
    operator::{OperatorProcess, Spinners, operator_binary},
    requests::{AgentRequest, requests},
    sets::{SetAddresses, selection_text},
    watchers::Watchers,
};

/// The namespace of the operator.
pub const RELEASE_NAMESPACE: &str = "xdp-system";
/// The API group and version as a path.
pub const API: &str = "/apis/xdp-operator.io/v1alpha1";

/// A free port in the control plane's network namespace.
const PORT: u16 = 8001;
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// The limit for one request.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Requests at the same time: more do not make the API server faster.
const CONNECTIONS: usize = 16;

/// An API server with the operator's CRDs, without nodes.
#[derive(Debug)]
pub struct SimulatedCluster {
    cluster: Cluster,
    _proxy: Process,
}

/// A request that must succeed.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    method: &'static str,
    path: String,
    body: String,
}

impl ApiRequest {
    /// Creates an object below this path.
    pub fn create(path: impl Into<String>, object: &Value) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            body: object.to_string(),
        }
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    pub fn patch(path: impl Into<String>, change: &Value) -> Self {
        Self {
            method: "PATCH",
            path: path.into(),
            body: change.to_string(),
        }
    }

    /// Deletes an object.
    pub fn delete(path: impl Into<String>) -> Self {
        Self {
            method: "DELETE",
            path: path.into(),
            body: "{}".to_owned(),
        }
    }

    fn send(&self, session: &HttpSession) -> Result<Value> {
        let content_type = match self.method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = HttpRequest {
            method: self.method,
            path: &self.path,
            body: Some((content_type, &self.body)),
        };
        let reply = session.send(&request)?;
        ensure!(
            (200..300).contains(&reply.status),
            "{} {}: {} {}",
            self.method,
            self.path,
            reply.status,
            reply.body
        );
        Ok(serde_json::from_str(&reply.body)?)
    }
}

impl SimulatedCluster {
    /// Starts etcd and the API server, and applies the CRDs of this operator.
    pub fn start(operator: &Path) -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions {
            nodes: 0,
            priority_and_fairness: false,
            ..ClusterOptions::default()
        })?;
        let mut command = cluster.admin("kubectl");
        command
            .args(["proxy", "--port", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let proxy = cluster.control().spawn(command)?;
        let simulated = Self {
            cluster,
            _proxy: proxy,
        };
        let answers = || simulated.get("/api");
        simulated
            .cluster
            .wait_for("kubectl proxy answers", PATIENCE, answers)?;
        operator::apply_crds(&simulated.cluster, operator)?;
        simulated.namespace(RELEASE_NAMESPACE, &serde_json::json!({}))?;
        Ok(simulated)
    }

    /// Returns the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Creates a namespace, with the account that pods need.
    pub fn namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let [namespace, account] = states::namespace(name, labels);
        self.send(&ApiRequest::create("/api/v1/namespaces", &namespace))?;
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        self.send(&ApiRequest::create(accounts, &account))?;
        Ok(())
    }

    /// Reads text from the API server.
    pub fn text(&self, path: &str) -> Result<String> {
        let reply = HttpRequest::get(path).send(self.cluster.control(), SERVER, TIMEOUT)?;
        ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
        Ok(reply.body)
    }

    /// Reads an object or a list.
    pub fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.text(path)?).with_context(|| path.to_owned())
    }

    /// Reads the items of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        match self.get(path)?["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("{path} is not a list: {other}"),
        }
    }

    /// Sends one request, and returns the object of the reply.
    pub fn send(&self, request: &ApiRequest) -> Result<Value> {
        let send = || request.send(&HttpSession::new(SERVER, TIMEOUT));
        self.cluster.control().run(send)?
    }

    /// Sends the requests that `of` returns for each number below `count`, those of one number in their order
    /// and on one connection.
    pub fn send_all(&self, count: usize, of: impl Fn(usize) -> Vec<ApiRequest> + Sync) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            let session = HttpSession::new(SERVER, TIMEOUT);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                for request in of(number) {
                    request.send(&session)?;
                }
            }
        };
        self.cluster.control().run(|| {
            thread::scope(|scope| -> Result<()> {
                let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
                for worker in workers {
                    worker
                        .join()
                        .map_err(|_| io::Error::other("a worker panicked"))??;
                }
                Ok(())
            })
        })?
    }

    /// Returns the counts of the API server since its start.
    pub fn cost(&self) -> Result<ApiCost> {
        Ok(ApiCost::read(&crate::installed::Scrape::parse(
            self.text("/metrics")?,
        )?))
    }
}

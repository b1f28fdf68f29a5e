//! A real Kubernetes in a lab's namespaces: two nodes, each with a NIC of its own, a control plane, and a client outside.
//!
//! ```text
//! fabric     br0 ── control | client | node1 | node2                  one bridge, no address
//! control    eth0  172.30.0.1    fd30:30::1      etcd, kube-apiserver (:6443), controller manager, scheduler
//! client     eth0  172.30.0.200  fd30:30::c8     whoever wants something of the pods
//! node1      eth0  172.30.0.11   fd30:30::b      pods 10.244.1.0/24, fd30:244:0:1::/64, point-to-point
//! node2      eth0  172.30.0.12   fd30:30::c      pods 10.244.2.0/24, fd30:244:0:2::/64, on a bridge
//! ```
//!
//! Everything is routed; nothing masquerades unless asked to. `eth0` stands for the node's card: a veth, in native mode.
//! A cluster goes with its lab: when it is dropped, and when its process ends, by whatever signal. Its programs are
//! built by `e2e/kubernetes/build`, never from here.

mod artifacts;
mod calls;
mod cgroups;
mod config;
mod control;
mod limits;
mod logs;
mod network;
mod node;
mod options;
mod pki;
pub mod standing;
mod wait;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use xdp_lab::{Finished, Lab, Namespace};

use self::{artifacts::Artifacts, cgroups::Cgroups, control::Control, network::Network};
pub use self::{
    node::Node,
    options::{Addresses, ClusterOptions, Cni, Proxy},
};

/// For what takes seconds, on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    control: Control,
    nodes: Vec<Node>,
    network: Network,
    options: ClusterOptions,
    state: PathBuf,
    logs: PathBuf,
    bin: PathBuf,
    /// Last: everything above is in it.
    lab: Lab,
}

impl Cluster {
    /// Start one, and wait until its nodes take pods.
    pub fn start(options: ClusterOptions) -> anyhow::Result<Self> {
        Self::start_with(options, |_| {})
    }

    /// The same, telling what is done.
    pub fn start_with(options: ClusterOptions, mut progress: impl FnMut(&str)) -> anyhow::Result<Self> {
        let cluster = Self::prepare(options)?;
        progress("namespaces, wires and certificates are made");
        cluster.boot(progress).with_context(|| {
            let logs = cluster.logs.display();
            format!("the cluster did not start; its logs: {logs}")
        })?;
        Ok(cluster)
    }

    fn prepare(options: ClusterOptions) -> anyhow::Result<Self> {
        let artifacts = Artifacts::find()?;
        let lab = Lab::new().context("the lab cannot be built (is this root?)")?;
        let cgroups = Arc::new(Cgroups::new(&lab)?);
        lab.at_end(&(Cgroups::remove(&lab) + &limits::restore(lab.dir())))?;
        let state = lab.dir().join("cluster");
        let logs = logs::folder(lab.id())?;
        fs::create_dir_all(state.join("home"))?;
        limits::raise();
        let network = Network::make(&lab, options)?;
        pki::make(&state, options)?;
        let shared = node::Shared {
            options,
            artifacts: &artifacts,
            lab_dir: lab.dir(),
            state: &state,
            logs: &logs,
            cgroups: &cgroups,
        };
        let nodes = (1..)
            .zip(&network.nodes)
            .map(|(number, namespace)| Node::new(&shared, number, namespace))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            control: Control::new(&network.control, artifacts.kube(), &state, &logs, options),
            nodes,
            network,
            options,
            state,
            logs,
            bin: artifacts.bin,
            lab,
        })
    }

    fn boot(&self, mut progress: impl FnMut(&str)) -> anyhow::Result<()> {
        self.control.start_storage()?;
        self.start_apiserver()?;
        progress("the API server answers");
        if self.nodes.is_empty() {
            // Nobody would report for the nodes that somebody makes up.
            return Ok(());
        }
        self.control.start_controllers()?;
        self.register_nodes()?;
        for node in &self.nodes {
            node.start()?;
        }
        self.wait_ready()?;
        // Pods cannot be made before.
        self.wait_for("the namespace default has its service account", PATIENCE, || {
            self.kubectl(&["get", "serviceaccount", "default"])
        })?;
        progress("all nodes are Ready");
        Ok(())
    }

    /// The kubelets find their nodes there, with the ranges that their network plugins have.
    fn register_nodes(&self) -> anyhow::Result<()> {
        let items: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let ranges = options::pods(node.number);
                json!({
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": node.name, "labels": {"e2e.local/cni": node.cni.name()}},
                    "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
                })
            })
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.wait_for("the nodes' objects are made", PATIENCE, || {
            self.apply(&list.to_string())
        })?;
        Ok(())
    }

    /// The file by which the administrator reaches it: from [`control`](Self::control), and wherever the fabric is.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.conf")
    }

    /// The folder with `kubectl`, `helm`, `ctr`, `promlint`, `mkimage`, `workload`.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// What its processes and pods have logged. It stays when the cluster goes.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Whoever wants something of the pods, from outside. Their addresses are routed, and services' by the first node.
    pub fn client(&self) -> &Namespace {
        &self.network.client
    }

    /// The client's addresses.
    pub fn client_addresses(&self) -> Addresses {
        self.options.client()
    }

    /// Where the API server is; it reaches pods, too.
    pub fn control(&self) -> &Namespace {
        &self.network.control
    }

    /// A node, counted from 1.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The lab it is in, for more namespaces and files.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Make an image known to all nodes: a tar of an OCI layout, as `mkimage` writes it.
    pub fn load_image(&self, tar: &Path) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| node.load_image(tar))
    }

    /// Kill the API server. Everything else goes on.
    pub fn stop_apiserver(&self) -> anyhow::Result<()> {
        self.control.kill(control::APISERVER)
    }

    /// Start the API server again, and wait until it answers.
    pub fn start_apiserver(&self) -> anyhow::Result<()> {
        self.control.start_apiserver()?;
        self.wait_for("the API server answers", PATIENCE, || {
            self.control.alive()?;
            self.kubectl(&["get", "--raw", "/readyz"])
        })?;
        Ok(())
    }
}

/// What a command that must succeed wrote to its standard output.
pub fn checked(what: &str, finished: Finished) -> anyhow::Result<String> {
    let Finished {
        status,
        stdout,
        stderr,
    } = finished;
    anyhow::ensure!(status.success(), "{what}: {status}\n{stderr}{stdout}");
    Ok(stdout)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here is changed in two steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A real Kubernetes in a lab's namespaces: two nodes, each with a NIC of its own, a control plane, and a
//! client outside.
//!
//! ```text
//! fabric     br0 ── control | client | node1 | node2                  one bridge, no address
//! control    eth0  172.30.0.1    fd30:30::1      etcd, kube-apiserver (:6443), controller manager, scheduler
//! client     eth0  172.30.0.200  fd30:30::c8     clients of the pods
//! node1      eth0  172.30.0.11   fd30:30::b      pods 10.244.1.0/24, fd30:244:0:1::/64, point-to-point
//! node2      eth0  172.30.0.12   fd30:30::c      pods 10.244.2.0/24, fd30:244:0:2::/64, on a bridge
//! ```
//!
//! Everything is routed, without masquerading unless an option enables it. `eth0` replaces the node's NIC: a
//! veth, in native mode. A cluster is removed with its lab: when it is dropped, and when its process ends, by
//! any signal. `e2e/kubernetes/build` builds the programs; this crate never does.
#![expect(clippy::print_stdout, reason = "`make cluster` prints its progress")]

mod artifacts;
pub mod background;
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

/// Time limit for operations that take seconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Returns the folder with `helm` and the other [programs](Cluster::bin), for what needs no cluster.
pub fn programs() -> anyhow::Result<PathBuf> {
    Artifacts::find().map(|artifacts| artifacts.bin)
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    control: Control,
    nodes: Vec<Node>,
    network: Network,
    options: ClusterOptions,
    state: PathBuf,
    logs: PathBuf,
    bin: PathBuf,
    /// Dropped last, because it contains everything above.
    lab: Lab,
}

impl Cluster {
    /// Starts a cluster, and waits until its nodes accept pods.
    pub fn start(options: ClusterOptions) -> anyhow::Result<Self> {
        Self::start_with(options, |_| {})
    }

    /// Starts a cluster as [`start`](Self::start) does, and reports each step that is done.
    pub fn start_with(options: ClusterOptions, mut progress: impl FnMut(&str)) -> anyhow::Result<Self> {
        let cluster = Self::prepare(options)?;
        progress("created namespaces, wires and certificates");
        cluster.boot(progress).with_context(|| {
            let logs = cluster.logs.display();
            format!("the cluster did not start; its logs: {logs}")
        })?;
        Ok(cluster)
    }

    fn prepare(options: ClusterOptions) -> anyhow::Result<Self> {
        let artifacts = Artifacts::find()?;
        let lab = Lab::new().context("cannot create the lab (requires root)")?;
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
        progress("the API server responds");
        if self.nodes.is_empty() {
            // Tests create the node objects; there is no kubelet, so node controllers are not wanted.
            return Ok(());
        }
        self.control.start_controllers()?;
        self.register_nodes()?;
        for node in &self.nodes {
            node.start()?;
        }
        self.wait_ready()?;
        // Pods cannot be created before.
        self.wait_for("the namespace default has its service account", PATIENCE, || {
            self.kubectl(&["get", "serviceaccount", "default"])
        })?;
        progress("all nodes are Ready");
        Ok(())
    }

    /// Creates the node objects before the kubelets start, with the pod ranges of the network plugins.
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
        self.wait_for("the node objects are created", PATIENCE, || {
            self.apply(&list.to_string())
        })?;
        Ok(())
    }

    /// Returns the administrator's kubeconfig. It works in [`control`](Self::control) and wherever the fabric
    /// is connected.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.conf")
    }

    /// Returns the folder with `kubectl`, `helm`, `ctr`, `checks`, `mkimage`, `workload`.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Returns the folder with the logs of processes and pods. It remains when the cluster is removed.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Returns the namespace of the client outside. It has routes to all pods, and to services through the
    /// first node.
    pub fn client(&self) -> &Namespace {
        &self.network.client
    }

    /// Returns the client's addresses.
    pub fn client_addresses(&self) -> Addresses {
        self.options.client()
    }

    /// Returns the namespace of the control plane. It also has routes to all pods.
    pub fn control(&self) -> &Namespace {
        &self.network.control
    }

    /// Returns a node; numbers start with 1.
    ///
    /// # Panics
    /// If there are fewer nodes.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// Returns all nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the lab of the cluster, for more namespaces and files.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Imports an image on all nodes: a tar of an OCI layout, as `mkimage` writes it.
    pub fn load_image(&self, tar: &Path) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| node.load_image(tar))
    }

    /// Kills the API server. Everything else continues.
    pub fn stop_apiserver(&self) -> anyhow::Result<()> {
        self.control.kill(control::APISERVER)
    }

    /// Starts the API server again, and waits until it responds.
    pub fn start_apiserver(&self) -> anyhow::Result<()> {
        self.control.start_apiserver()?;
        self.wait_for("the API server responds", PATIENCE, || {
            self.control.alive()?;
            self.kubectl(&["get", "--raw", "/readyz"])
        })?;
        Ok(())
    }
}

/// Returns the standard output of a finished command, or an error if it failed.
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
    // Every change is a single step, so a panic leaves a consistent value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

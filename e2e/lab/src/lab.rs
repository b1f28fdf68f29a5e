//! The lab: a node with its namespaces, and their removal.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use crate::{
    LabError, Namespace,
    home::{
        Home, {self},
    },
    nic::{Nic, NicSpec},
    pod::{LabPod, LabPodSpec},
    process::{
        Children, lock, {self},
    },
};

/// A node with its namespaces, on the running kernel. Everything is removed when the lab is dropped or this
/// process ends, for whatever reason.
#[derive(Debug)]
pub struct Lab {
    core: Arc<Core>,
    node: Namespace,
}

/// State that namespaces and pods share with their lab.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) home: Home,
    pub(crate) children: Children,
    pub(crate) topology: Mutex<Topology>,
}

/// NICs and pods. Every client gets a route to every pod.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) nics: Vec<Nic>,
    /// Addresses of the pods that exist now.
    pub(crate) pod_addresses: Vec<std::net::IpAddr>,
    /// The number of pods created so far, for names and MACs.
    pub(crate) pods: u8,
    pub(crate) has_bridge: bool,
}

impl Lab {
    /// Creates a lab with an empty node: a namespace that forwards.
    ///
    /// The first lab of a process removes the remains of dead labs.
    pub fn new() -> Result<Self, LabError> {
        static SWEPT: LazyLock<usize> = LazyLock::new(Lab::sweep);
        LazyLock::force(&SWEPT);
        let core = Arc::new(Core {
            home: Home::create()?,
            children: Children::default(),
            topology: Mutex::default(),
        });
        // From here on an error drops the lab.
        let lab = Self {
            node: Namespace::named(&core, "node")?,
            core,
        };
        lab.node.make()?;
        lab.node.set_sysctl("net/ipv4/ip_forward", "1")?;
        lab.node.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        Ok(lab)
    }

    /// Removes the remains of labs whose process has ended. Returns how many there were.
    pub fn sweep() -> usize {
        home::sweep()
    }

    /// Returns the node, which has the NICs and the host-side veths of pods.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// Creates a namespace, such as a client.
    pub fn namespace(&self, name: &str) -> Result<Namespace, LabError> {
        Namespace::create(&self.core, name)
    }

    /// Creates a NIC of the node, wired to a client.
    pub fn nic(&self, spec: NicSpec) -> Result<Nic, LabError> {
        Nic::create(&self.core, &self.node, spec)
    }

    /// Creates a pod on the node. Every client gets a route to it.
    pub fn pod(&self, spec: &LabPodSpec) -> Result<LabPod, LabError> {
        LabPod::create(&self.core, &self.node, spec)
    }

    /// Sets a shell script that runs when the lab ends, for whatever reason: after its processes are gone,
    /// and before its directory is removed. It removes things outside [`dir`](Self::dir), such as cgroups.
    pub fn at_end(&self, script: &str) -> Result<(), LabError> {
        self.core.home.at_end(script)
    }

    /// Returns the lab's id, unique on the machine.
    pub fn id(&self) -> &str {
        &self.core.home.id
    }

    /// Returns the path of a directory, not created yet, on the lab's own bpffs. Its pins are removed with
    /// the lab.
    pub fn pin_dir(&self) -> PathBuf {
        self.dir().join("bpf/xdp-operator")
    }

    /// Returns a directory for files of the test, such as manifests. It is removed with the lab.
    pub fn dir(&self) -> &Path {
        &self.core.home.dir
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl Core {
    fn end(&self) {
        process::end(&self.children);
        self.home.remove();
        // NICs reference namespaces, and those reference this value: break the cycle.
        let _nics = std::mem::take(&mut self.topology().nics);
    }

    pub(crate) fn topology(&self) -> std::sync::MutexGuard<'_, Topology> {
        lock(&self.topology)
    }
}

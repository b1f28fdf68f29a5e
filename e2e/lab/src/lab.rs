//! The lab itself: what exists, and the end of it.

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
    pod::{Pod, PodSpec},
    process::{
        Children, lock, {self},
    },
};

/// A node with its namespaces, on this kernel. Dropping it removes all of it; so does the end of this process, however
/// it comes.
#[derive(Debug)]
pub struct Lab {
    core: Arc<Core>,
    node: Namespace,
}

/// What namespaces and pods share with their lab.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) home: Home,
    pub(crate) children: Children,
    pub(crate) topology: Mutex<Topology>,
}

/// What has to be told about each other: every client reaches every pod.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) nics: Vec<Nic>,
    /// Addresses of pods that are there now.
    pub(crate) pod_addresses: Vec<std::net::IpAddr>,
    /// How many pods there ever were: names and MACs are made of it.
    pub(crate) pods: u8,
    pub(crate) has_bridge: bool,
}

impl Lab {
    /// A lab with an empty node: a namespace that forwards.
    ///
    /// The first lab of a process removes what dead ones left.
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

    /// Remove what labs of processes that are gone left behind; returns how many there were.
    pub fn sweep() -> usize {
        home::sweep()
    }

    /// The node: NICs and the hosts' ends of pods are in here.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// One more namespace, such as a client.
    pub fn namespace(&self, name: &str) -> Result<Namespace, LabError> {
        Namespace::create(&self.core, name)
    }

    /// A NIC of the node, wired to a client.
    pub fn nic(&self, spec: NicSpec) -> Result<Nic, LabError> {
        Nic::create(&self.core, &self.node, spec)
    }

    /// A pod on the node; every client gets a route to it.
    pub fn pod(&self, spec: &PodSpec) -> Result<Pod, LabError> {
        Pod::create(&self.core, &self.node, spec)
    }

    /// Have a shell run this at the end, after the lab's processes are gone and before its directory is: for what is
    /// neither a process nor below [`dir`](Self::dir), such as cgroups. It runs however the lab ends.
    pub fn at_end(&self, script: &str) -> Result<(), LabError> {
        self.core.home.at_end(script)
    }

    /// What tells this lab from all others of the machine.
    pub fn id(&self) -> &str {
        &self.core.home.id
    }

    /// A directory on a bpffs of the lab's own, not made yet. What is pinned below goes with the lab.
    pub fn pin_dir(&self) -> PathBuf {
        self.dir().join("bpf/xdp-operator")
    }

    /// A directory for files of the test, such as manifests. It goes with the lab.
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
        // NICs know their namespaces, and those know the lab: without this it would hold itself.
        let _nics = std::mem::take(&mut self.topology().nics);
    }

    pub(crate) fn topology(&self) -> std::sync::MutexGuard<'_, Topology> {
        lock(&self.topology)
    }
}

//! A small world of namespaces for one test: a host and its pods, made with `ip`, gone when dropped.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use xdp_agent::node::{netlink, netns::Netns};
use xdp_plan::facts::Pair;

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// A network namespace under `/run/netns`.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("xa-{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        Self { name }
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        Netns::open(&self.path()).unwrap().run(work).unwrap()
    }

    /// A new namespace under the name that [`Namespace::unname`] took away.
    pub(crate) fn create_again(&self) {
        ip(&format!("netns add {}", self.name));
    }

    /// Take the name away. The namespace lives on while something else holds it.
    pub(crate) fn unname(&self) {
        ip(&format!("netns del {}", self.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.path().exists() {
            // No panic here: this may be the clean-up after one.
            let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        }
    }
}

/// A process that is gone when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        Self(Command::new(program).args(arguments).spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host namespace with one pod behind the veth pair `host0`, `eth0`, both up.
pub(crate) struct World {
    pub(crate) host: Namespace,
    pub(crate) pod: Namespace,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::with_pod_down();
        world.pod.ip("link set eth0 up");
        world
    }

    /// The same, but nobody has set the pod's end up.
    pub(crate) fn with_pod_down() -> Self {
        let world = Self {
            host: Namespace::new(),
            pod: Namespace::new(),
        };
        world.host.ip(&format!(
            "link add host0 type veth peer name eth0 netns {}",
            world.pod.name
        ));
        // No link-local addresses: their duplicate detection would go on changing things for seconds.
        world.host.ip("link set host0 addrgenmode none");
        world.pod.ip("link set eth0 addrgenmode none");
        world.host.ip("link set host0 up");
        world
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        self.host.run(|| netlink::facts().unwrap().pairs)
    }

    pub(crate) fn pair(&self) -> Pair {
        let mut pairs = self.pairs();
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        pairs.remove(0)
    }
}

/// Wait for a condition, a minute at most: the machine may be busy with something else.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

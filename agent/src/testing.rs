//! A host and a pod in network namespaces, for tests on the running kernel.
#![expect(
    clippy::missing_panics_doc,
    reason = "a helper that fails is a test that fails"
)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use xdp_plan::facts::Pair;

use crate::node::{netlink, netns::Netns};

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// A network namespace under `/run/netns`. Dropping it deletes its name.
pub struct TestNamespace {
    /// Its name below `/run/netns`.
    pub name: String,
}

impl TestNamespace {
    /// Creates a namespace with a unique name.
    #[expect(clippy::new_without_default, reason = "it changes the machine")]
    pub fn new() -> Self {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("xa-{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        Self { name }
    }

    /// Returns the path of the mount that holds the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `ip` inside the namespace.
    pub fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// Runs `work` on a thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = Netns::open(&self.path()).expect("the namespace can be opened");
        netns.run(work).expect("the namespace can be entered")
    }

    /// Creates a new namespace under the name that [`TestNamespace::unname`] deleted.
    pub fn create_again(&self) {
        ip(&format!("netns add {}", self.name));
    }

    /// Deletes the name. The namespace exists as long as something else holds it.
    pub fn unname(&self) {
        ip(&format!("netns del {}", self.name));
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        if self.path().exists() {
            // No panic here: the test may have panicked already.
            let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        }
    }
}

/// A process. Dropping it kills the process.
pub struct TestProcess(Child);

impl TestProcess {
    /// Starts a program.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).spawn();
        Self(child.expect("the program can be started"))
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host namespace and a pod namespace, connected by the veth pair `host0` and `eth0`.
pub struct HostAndPod {
    /// The namespace with `host0`.
    pub host: TestNamespace,
    /// The namespace with `eth0`.
    pub pod: TestNamespace,
}

impl HostAndPod {
    /// Creates both namespaces, with both interfaces up.
    #[expect(clippy::new_without_default, reason = "it changes the machine")]
    pub fn new() -> Self {
        let fixture = Self::with_pod_down();
        fixture.pod.ip("link set eth0 up");
        fixture
    }

    /// Creates both namespaces, with the pod's interface down.
    pub fn with_pod_down() -> Self {
        let fixture = Self {
            host: TestNamespace::new(),
            pod: TestNamespace::new(),
        };
        let pod = &fixture.pod.name;
        let veth = format!("link add host0 type veth peer name eth0 netns {pod}");
        fixture.host.ip(&veth);
        // No link-local addresses: duplicate address detection would cause events for seconds.
        fixture.host.ip("link set host0 addrgenmode none");
        fixture.pod.ip("link set eth0 addrgenmode none");
        fixture.host.ip("link set host0 up");
        fixture
    }

    /// Returns the pairs that the agent finds from the host's namespace.
    pub fn pairs(&self) -> Vec<Pair> {
        let facts = self.host.run(netlink::facts);
        facts.expect("the kernel lists its interfaces").pairs
    }

    /// Returns the only pair.
    pub fn pair(&self) -> Pair {
        let mut pairs = self.pairs();
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        pairs.remove(0)
    }
}

/// Waits for a condition, for a minute at most: the machine may be busy.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    let status = status.expect("`ip` can be started");
    assert!(status.success(), "ip {arguments}");
}

//! The operator and the agents, installed by Helm on a [`Cluster`], with workloads.
//!
//! All tests of a process share one cluster, because starting it takes longer than most tests. Tests that do
//! not disturb others run in parallel, tests that do run alone.

mod agents;
mod api;
mod counts;
mod deployments;
mod engine;
mod http;
mod kernel;
mod metrics;
mod pods;
mod readers;
mod space;

use std::{
    fmt::Display,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;
use xdp_kubernetes::{Cluster, ClusterOptions, Node, PATIENCE, checked};
use xdp_lab::Process;

pub use self::{
    agents::{Frozen, is_ready},
    counts::{Counts, Flow, Seen},
    engine::Engine,
    http::{HttpReply, http_get, http_get_within, http_patch, http_post},
    metrics::{AGENT_METRICS, OPERATOR_METRICS, Sample, Scrape},
    pods::{ClusterPod, ClusterPodSpec},
    space::{Space, condition, policy},
};

/// The namespace of operator and agents.
pub const NAMESPACE: &str = "xdp-system";
/// The name of the Helm release.
pub const RELEASE: &str = "xdp-operator";
/// The API group and version as a path.
pub const API: &str = "/apis/xdp-operator.io/v1alpha1";

/// A cluster with the chart installed.
#[derive(Debug)]
pub struct Installation {
    cluster: Cluster,
    proxy: Mutex<Option<Process>>,
    /// The token of the account that reads metrics.
    reader: Mutex<Option<String>>,
}

/// Serializes tests that disturb others, on all clusters of this process: they share the machine.
static TURNS: RwLock<()> = RwLock::new(());

/// Held by a test that may run in parallel with others.
pub type Together<'a> = RwLockReadGuard<'a, ()>;
/// Held by a test that runs alone.
pub type Alone<'a> = RwLockWriteGuard<'a, ()>;

impl Deref for Installation {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Installation {
    /// Starts a cluster with both images loaded and without the chart.
    pub fn bare() -> anyhow::Result<Self> {
        Self::bare_with(ClusterOptions::default())
    }

    fn bare_with(options: ClusterOptions) -> anyhow::Result<Self> {
        let images = [image("xdp-operator")?, image("xdp-agent")?];
        let cluster = Cluster::start(options)?;
        for image in &images {
            cluster.load_image(image)?;
        }
        for node in cluster.nodes() {
            install_seccomp_profile(node)?;
        }
        let installed = Self {
            cluster,
            proxy: Mutex::default(),
            reader: Mutex::default(),
        };
        installed.start_proxy()?;
        Ok(installed)
    }

    /// Starts a cluster with the chart installed, whose NICs are `eth*`.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(ClusterOptions::default())
    }

    /// Starts a cluster with these options and the chart installed.
    pub fn start_with(options: ClusterOptions) -> anyhow::Result<Self> {
        let installed = Self::bare_with(options)?;
        installed.install(&[])?;
        Ok(installed)
    }

    /// Returns the shared cluster of this process. The first call starts it; it is removed with the process.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Installation, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:?}")));
        match started {
            Ok(installed) => installed,
            Err(error) => panic!("no cluster to test on: {error}"),
        }
    }

    /// Runs `helm install` with further arguments, and waits until everything is ready.
    pub fn install(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.with_chart(&["install", "--create-namespace"], arguments)
    }

    /// Runs `helm upgrade` with further arguments, and waits until everything is ready.
    pub fn upgrade(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.with_chart(&["upgrade"], arguments)
    }

    /// Runs `helm template` with further arguments, and returns the objects, with the CRDs, as YAML.
    pub fn render(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.chart(&["template", "--include-crds"], arguments)
    }

    fn with_chart(&self, command: &[&str], arguments: &[&str]) -> anyhow::Result<String> {
        let command = [command, &["--wait", "--timeout", "5m"]].concat();
        self.chart(&command, arguments)
            .map_err(|error| anyhow!("{error:#}\n{}", self.describe(NAMESPACE)))
    }

    fn chart(&self, command: &[&str], arguments: &[&str]) -> anyhow::Result<String> {
        let chart = repository().join("charts/xdp-operator");
        let chart = chart.to_str().context("the repository's path is not UTF-8")?;
        let release = [RELEASE, chart, "--namespace", NAMESPACE, "--values", "-"];
        let call = [command, &release, arguments].concat();
        let finished = self.run("helm", &call, Some(VALUES))?;
        checked(&format!("helm {}", call.join(" ")), finished)
    }

    /// Waits until a test may run that does not disturb others, or has a cluster of its own.
    pub fn together() -> Together<'static> {
        TURNS.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a test may run that would disturb others or be disturbed: no other test runs, and the
    /// namespaces of earlier tests are deleted.
    pub fn alone(&self) -> Alone<'static> {
        let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        let gone = self.until("the namespaces of earlier tests are gone", || {
            let namespaces = self.list("/api/v1/namespaces")?;
            let mut ends = namespaces
                .iter()
                .map(|namespace| &namespace["metadata"]["deletionTimestamp"]);
            ensure!(ends.all(Value::is_null), "some are still terminating");
            Ok(())
        });
        if let Err(error) = gone {
            // The test may still succeed; otherwise its own error is more useful.
            println!("{error:#}");
        }
        turn
    }

    /// Creates a namespace for a test. It is deleted on drop.
    pub fn space(&self, name: &str) -> anyhow::Result<Space<'_>> {
        Space::new(self, name)
    }

    /// Retries until `attempt` succeeds, and returns its result. After the timeout, returns its last error.
    pub fn until<T>(
        &self,
        what: impl Display,
        attempt: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.wait_for(&what.to_string(), PATIENCE, attempt)
    }

    /// Reads an object until it is as wanted. After the timeout, the error shows its status.
    pub fn until_object(
        &self,
        what: impl Display,
        path: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.until(what, || {
            let object = self.api(path)?;
            ensure!(
                wanted(&object),
                "generation {}, status: {:#}",
                object["metadata"]["generation"],
                object["status"]
            );
            Ok(object)
        })
    }

    /// Lists a namespace's pods and events by `kubectl`, for errors.
    pub fn describe(&self, namespace: &str) -> String {
        let show = |arguments: &[&str]| {
            let arguments = [&["-n", namespace], arguments].concat();
            self.kubectl(&arguments).unwrap_or_else(|error| error.to_string())
        };
        let (pods, events) = (show(&["get", "pods", "-o", "wide"]), show(&["get", "events"]));
        format!("pods in {namespace}:\n{pods}\nevents:\n{events}")
    }
}

const VALUES: &str = "\
agent:
  nics: {drivers: [], names: ['eth*']}
  seccompProfile: {type: Localhost, localhostProfile: xdp-agent.json}
logLevel: info,xdp_agent=debug,xdp_operator=debug
";

/// Installs the agent's seccomp profile as the documentation says, with one difference: what it does not
/// allow kills the agent, which cannot be overlooked.
fn install_seccomp_profile(node: &Node) -> anyhow::Result<()> {
    const SCRIPT: &str = "\
installed=/var/lib/kubelet/seccomp/xdp-agent.json
install -D -m 0644 \"$0\" $installed
sed -i 's/\"defaultAction\": \"SCMP_ACT_ERRNO\"/\"defaultAction\": \"SCMP_ACT_KILL_PROCESS\"/' $installed
grep -q KILL $installed";
    let profile = repository().join("charts/xdp-operator/profiles/seccomp.json");
    let profile = profile.to_str().context("the repository's path is not UTF-8")?;
    node.exec_ok(&["sh", "-ec", SCRIPT, profile]).map(drop)
}

fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Finds an image that `images/build` has written into the target directory of this test.
fn image(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let file = format!("images/{name}.tar");
    let found = own
        .ancestors()
        .map(|folder| folder.join(&file))
        .find(|path| path.exists());
    found.with_context(|| format!("{file} is absent; build it as root: make e2e"))
}

//! The product as its users meet it: installed by Helm on a [`Cluster`], with workloads as wanted.
//!
//! One is shared by all tests of a process, because starting it takes longer than most tests. Those that disturb nobody
//! run together, those that disturb run alone.

mod agents;
mod api;
mod counts;
mod deployments;
mod http;
mod kernel;
mod metrics;
mod pods;
mod space;

use std::{
    fmt::Display,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;
use xdp_lab::Process;

pub use self::{
    agents::{Frozen, is_ready},
    counts::{Counts, Flow, Seen},
    http::{Reply, http_get, http_get_within, http_patch, http_post},
    metrics::{Metrics, Sample},
    pods::{Pod, PodSpec},
    space::{Space, condition, policy},
};
use xdp_kubernetes::{Cluster, ClusterOptions, PATIENCE, checked};

/// The namespace of operator and agents.
pub const NAMESPACE: &str = "xdp-system";
/// The release's name.
pub const RELEASE: &str = "xdp-operator";
/// The API group and version, as paths have it.
pub const API: &str = "/apis/xdp-operator.io/v1alpha1";

/// A cluster with the chart installed.
#[derive(Debug)]
pub struct Installed {
    cluster: Cluster,
    proxy: Mutex<Option<Process>>,
}

/// Whose turn it is, on all clusters of this process: they share the machine.
static TURNS: RwLock<()> = RwLock::new(());

/// A test's turn beside others that disturb nobody; alone, if it disturbs.
pub type Together<'a> = RwLockReadGuard<'a, ()>;
/// A test's turn while no other runs.
pub type Alone<'a> = RwLockWriteGuard<'a, ()>;

impl Deref for Installed {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Installed {
    /// A cluster with both images loaded, on which nothing is installed yet.
    pub fn bare() -> anyhow::Result<Self> {
        Self::bare_with(ClusterOptions::default())
    }

    fn bare_with(options: ClusterOptions) -> anyhow::Result<Self> {
        let images = [image("xdp-operator")?, image("xdp-agent")?];
        let cluster = Cluster::start(options)?;
        for image in &images {
            cluster.load_image(image)?;
        }
        let installed = Self {
            cluster,
            proxy: Mutex::default(),
        };
        installed.start_proxy()?;
        Ok(installed)
    }

    /// A cluster with the chart installed: `eth*` are the NICs.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(ClusterOptions::default())
    }

    /// The same on another cluster.
    pub fn start_with(options: ClusterOptions) -> anyhow::Result<Self> {
        let installed = Self::bare_with(options)?;
        installed.install(&[])?;
        Ok(installed)
    }

    /// The one of this process: started by who asks first, gone with the process.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Installed, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:?}")));
        match started {
            Ok(installed) => installed,
            Err(error) => panic!("no cluster to test on: {error}"),
        }
    }

    /// `helm install`, with further arguments, until all of it is ready.
    pub fn install(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.with_chart(&["install", "--create-namespace"], arguments)
    }

    /// `helm upgrade`, with further arguments, until all of it is ready.
    pub fn upgrade(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.with_chart(&["upgrade"], arguments)
    }

    fn with_chart(&self, command: &[&str], arguments: &[&str]) -> anyhow::Result<String> {
        let chart = repository().join("charts/xdp-operator");
        let chart = chart.to_str().context("the repository's path is not UTF-8")?;
        let (release, common) = (
            [RELEASE, chart, "--namespace", NAMESPACE],
            ["--wait", "--timeout", "5m", "--values", "-"],
        );
        let call = [command, &release, &common, arguments].concat();
        let finished = self.run("helm", &call, Some(VALUES))?;
        checked(&format!("helm {}", call.join(" ")), finished)
            .map_err(|error| anyhow!("{error:#}\n{}", self.describe(NAMESPACE)))
    }

    /// The turn of a test that disturbs no other, or has a cluster of its own.
    pub fn together() -> Together<'static> {
        TURNS.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a test that would disturb others, or be disturbed: when it has begun, none of them runs, and what they
    /// have left behind is gone.
    pub fn alone(&self) -> Alone<'static> {
        let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        let gone = self.until("the namespaces of earlier tests are gone", || {
            let namespaces = self.list("/api/v1/namespaces")?;
            let mut ends = namespaces
                .iter()
                .map(|namespace| &namespace["metadata"]["deletionTimestamp"]);
            ensure!(ends.all(Value::is_null), "some are there");
            Ok(())
        });
        if let Err(error) = gone {
            // The test may do well beside it, and says why if not.
            println!("{error:#}");
        }
        turn
    }

    /// A namespace for a test, deleted when dropped.
    pub fn space(&self, name: &str) -> anyhow::Result<Space<'_>> {
        Space::new(self, name)
    }

    /// Look until it is so, and return what was found; when time is up, the error says why it last was not.
    pub fn until<T>(
        &self,
        what: impl Display,
        attempt: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.wait_for(&what.to_string(), PATIENCE, attempt)
    }

    /// Look at an object until it is as wanted; when time is up, the error shows its status.
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

    /// What `kubectl` shows of a namespace's pods and events: for errors.
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
logLevel: info,xdp_agent=debug,xdp_operator=debug
";

fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// An archive of `images/build`, which writes into the target directory that this test was built in.
fn image(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let file = format!("images/{name}.tar");
    let found = own
        .ancestors()
        .map(|folder| folder.join(&file))
        .find(|path| path.exists());
    found.with_context(|| format!("{file} is not built; run as root: make e2e"))
}

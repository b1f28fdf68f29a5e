//! Policies and pods from an API server, and the node's status to it.
//!
//! ```text
//! watches: policies, peer sets, pods of this node, this node, its own state ─▶ cache ─▶ the loop
//!                                                                 writer ◀── cache ◀── status
//! ```
//!
//! One thread with a runtime of its own does all waiting for the network; the loop only ever takes the
//! cache's lock. What a list gave stays until the next whole list: while the API server is away, everything
//! stays as it was.

mod cache;
mod listed;
mod objects;
mod problems;
#[cfg(test)]
mod tests;
mod watch;
mod write;
mod writer;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::{runtime, sync::Notify};
use xdp_crds::{XdpNodeStateStatus, conditions::node::PEERS_PENDING};
use xdp_plan::{
    node_state::selects,
    pod::Pod,
    report::Problem,
    resolve::{NodePolicy, SourceResolver},
};

use self::cache::Cache;
use crate::{report::metrics::AgentMetrics, source::Objects};

/// What the threads share.
struct Shared {
    node: String,
    cache: Mutex<Cache>,
    /// Something that the writer looks at has changed.
    poke: Notify,
    /// Wakes the loop.
    wake: Box<dyn Fn() + Send + Sync>,
    metrics: Arc<AgentMetrics>,
}

/// A cluster, followed.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    resolver: SourceResolver,
}

impl Cluster {
    /// Connects as the pod's service account, or as `KUBECONFIG` says, and calls `wake` whenever something
    /// has changed. An API server that does not answer is no error.
    pub(crate) fn follow(
        node: &str,
        metrics: Arc<AgentMetrics>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        let client = runtime.block_on(connect())?;
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            cache: Mutex::default(),
            poke: Notify::new(),
            wake: Box::new(wake),
            metrics,
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(move || runtime.block_on(attend(client, theirs)))
            .context("thread cannot be started")?;
        let resolver = SourceResolver::default();
        Ok(Self { shared, resolver })
    }

    /// What is wrong with the connection and with objects, and when the oldest change came that the loop has
    /// not seen.
    pub(crate) fn reload(&mut self) -> (Vec<Problem>, Option<Instant>) {
        let mut cache = self.shared.cache();
        let since = cache.take_changed();
        (cache.problems(&self.shared.node, Instant::now()), since)
    }

    /// `None` until everything was listed once.
    pub(crate) fn objects(&mut self) -> Option<Objects> {
        let cache = self.shared.cache();
        let labels = cache.node_labels()?;
        let slices: Vec<_> = cache.slices().cloned().collect();
        let resolved = self.resolver.resolve(cache.policies(), &slices, labels);
        // A pod that starts gets its address later, and is news then.
        let pods = cache.pods().filter(|pod| !pod.addresses.is_empty());
        let pods: Vec<Arc<Pod>> = pods.cloned().map(Arc::new).collect();
        Some(Objects {
            problems: pending(&resolved.node_policies, &pods),
            policies: resolved.policies.into_iter().map(Arc::new).collect(),
            node_policies: resolved.node_policies,
            pods,
        })
    }

    /// What the node says about itself from now on.
    pub(crate) fn publish(&self, status: XdpNodeStateStatus) {
        if self.shared.cache().set_status(status) {
            self.shared.poke.notify_one();
        }
    }
}

/// Policies that wait for their peers' addresses, and have pods here.
fn pending(node_policies: &[NodePolicy], pods: &[Arc<Pod>]) -> Vec<Problem> {
    let concerns = |node_policy: &&NodePolicy| {
        let policy = node_policy.policy.as_deref();
        policy.is_some_and(|policy| pods.iter().any(|pod| selects(policy, pod)))
    };
    let waiting = node_policies.iter().filter(|node_policy| {
        let reason = node_policy
            .obstacle
            .as_ref()
            .map(|obstacle| obstacle.reason.as_str());
        reason == Some(PEERS_PENDING)
    });
    waiting
        .filter(concerns)
        .filter_map(|node_policy| node_policy.obstacle.clone())
        .collect()
}

impl Shared {
    /// The lock is never held over anything that could panic half-way through a change.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect() -> anyhow::Result<Client> {
    let config = Config::infer()
        .await
        .context("neither a service account nor KUBECONFIG says how to reach the API server")?;
    Client::try_from(config).context("the client of the API server cannot be made")
}

/// Runs for as long as the process.
async fn attend(client: Client, shared: Arc<Shared>) {
    tokio::join!(
        watch::everything(&client, &shared),
        writer::write(&client, &shared)
    );
}

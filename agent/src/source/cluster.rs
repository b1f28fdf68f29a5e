//! Reads policies and pods from an API server, and writes the node's state to it.
//!
//! ```text
//! watches: pods of this node, this node, its own state ──────────────────────▶ cache ─▶ the loop
//!          policies of the namespaces that have pods here ◀── namespaces ─────── │        │
//!          namespaces, only if their labels decide about redirects ◀──────────── │        │
//!          peer sets that policies of pods here need ◀────────────────────────── │ ◀──────┤
//!                                                                 writer ◀── cache ◀── status
//! ```
//!
//! So the API server sends a node nothing about pods and policies that are not its own.
//! One thread with its own runtime waits for the network; the loop only takes the lock of the cache. Objects
//! stay until the next complete list: while the API server is unreachable, nothing changes.

mod cache;
mod keyed;
mod lists;
mod objects;
mod problems;
mod restrictions;
#[cfg(test)]
mod tests;
mod watch;
mod write;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use kube::Client;
use tokio::{runtime, sync::Notify};
use xdp_client::connect;
use xdp_crds::{XdpNodeStateStatus, conditions::node::PEERS_PENDING, network_policy::PolicyKind};
use xdp_plan::{
    node_state::selects,
    permission,
    pod::Pod,
    policy::{MarkMask, Policy, RedirectNamespaces},
    report::Problem,
    resolve::{LocalNode, NodePolicy, SourceResolver},
};

use self::{cache::Cache, restrictions::Restrictions, watch::KindWakes};
use crate::{args::RightsArgs, report::metrics::AgentMetrics, source::Objects};

/// What the loop and the thread of the network share.
struct Shared {
    node: String,
    /// The namespace with the peer sets: that of the operator.
    namespace: String,
    /// The bits that the marks of rules may have.
    marks: MarkMask,
    /// The namespaces in which rules may redirect.
    redirects: RedirectNamespaces,
    cache: Mutex<Cache>,
    wanted: Wanted,
    /// Wakes the writer after a change of its inputs.
    writer: Notify,
    /// Wakes the loop.
    wake: Box<dyn Fn() + Send + Sync>,
    metrics: Arc<AgentMetrics>,
}

/// Wake the watches of a kind when other objects are wanted.
#[derive(Default)]
struct Wanted {
    policies: Notify,
    sets: Notify,
    namespaces: Notify,
    network: BTreeMap<PolicyKind, KindWakes>,
}

impl Wanted {
    fn new(kinds: &BTreeSet<PolicyKind>) -> Self {
        let network = kinds.iter().map(|kind| (*kind, KindWakes::default()));
        Self {
            network: network.collect(),
            ..Self::default()
        }
    }

    fn wake_network(&self) {
        for wakes in self.network.values() {
            wakes.wanted.notify_one();
        }
    }
}

/// A connection to a cluster.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    resolver: SourceResolver,
    restrictions: Restrictions,
}

impl Cluster {
    /// Connects as the pod's service account, or as `KUBECONFIG` says, and calls `wake` after each change.
    /// Succeeds even if the API server does not answer. The peer sets are in `namespace`, by default in that
    /// of the pod.
    pub(crate) fn follow(
        node: &str,
        namespace: Option<&str>,
        rights: &RightsArgs,
        metrics: Arc<AgentMetrics>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime of the API client")?;
        let client = runtime.block_on(connect())?;
        let cache = Cache::new(
            !rights.redirect_namespaces.are_all(),
            &rights.ignored_network_policy_kinds,
        );
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            namespace: namespace.unwrap_or(client.default_namespace()).to_owned(),
            marks: rights.allowed_mark_mask,
            redirects: rights.redirect_namespaces.clone(),
            wanted: Wanted::new(cache.network.kinds()),
            cache: Mutex::new(cache),
            writer: Notify::new(),
            wake: Box::new(wake),
            metrics,
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(move || runtime.block_on(run(client, of_thread)))
            .context("cannot start the thread of the API client")?;
        let resolver = SourceResolver::default();
        Ok(Self {
            shared,
            resolver,
            restrictions: Restrictions::new(rights.allow_ignore_network_policy),
        })
    }

    /// Decides which peer sets are needed. Returns the problems with the API server and with objects, and the
    /// time of the oldest unread change.
    pub(crate) fn reload(&mut self) -> (Vec<Problem>, Option<Instant>) {
        let mut cache = self.shared.cache();
        let now = Instant::now();
        if self.restrictions.select(&mut cache, now) {
            self.shared.wanted.wake_network();
        }
        if let Some(labels) = cache.labels_before_sets() {
            let node = LocalNode::new(labels, cache.pods());
            let mut needed = self.resolver.needed(cache.policies(now), &node);
            needed.extend(self.restrictions.needed());
            if cache.want_sets(&needed, now) {
                self.shared.wanted.sets.notify_one();
            }
        }
        let since = cache.take_changed();
        (cache.problems(&self.shared.node, now), since)
    }

    /// Returns the objects. `None` until what the pods of the node need was listed once.
    pub(crate) fn objects(&mut self) -> Option<Objects> {
        let mut cache = self.shared.cache();
        let labels = cache.node_labels()?;
        let node = LocalNode::new(labels, cache.pods());
        let policies = cache.policies(Instant::now());
        let resolved = self
            .resolver
            .resolve(policies, cache.slices().map(AsRef::as_ref), &node);
        // A pod that starts gets its address later. That is another change.
        let pods = cache.pods().filter(|pod| !pod.addresses.is_empty());
        let pods: Vec<Arc<Pod>> = pods.cloned().map(Arc::new).collect();
        let mut policies: Vec<Arc<Policy>> = resolved.policies.into_iter().map(Arc::new).collect();
        let mut node_policies = resolved.node_policies;
        let permitted = &self.shared.redirects;
        permission::apply(&mut policies, &mut node_policies, permitted, &cache.namespaces());
        self.restrictions.program(&mut policies, &mut node_policies);
        // Policies and pods may have come since the sets were decided about.
        if self.restrictions.select(&mut cache, Instant::now()) {
            self.shared.wanted.wake_network();
        }
        let evaluated = self.restrictions.evaluate(&cache);
        let mut problems = pending(&node_policies, &pods);
        problems.extend(permission::problems(&node_policies, &pods));
        Some(Objects {
            policies,
            pods,
            node_policies,
            problems,
            certainty: evaluated.certainty,
            unfinished: evaluated.pending,
        })
    }

    /// Sets the status to write.
    pub(crate) fn publish(&self, status: XdpNodeStateStatus) {
        if self.shared.cache().set_status(status) {
            self.shared.writer.notify_one();
        }
    }
}

/// Returns a problem for each policy that waits for the addresses of its peers, and that selects a pod of
/// this node.
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
    /// Ignores poisoning: no change of the cache can panic half-way.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs for as long as the process.
async fn run(client: Client, shared: Arc<Shared>) {
    tokio::join!(watch::all(&client, &shared), writer::run(&client, &shared));
}

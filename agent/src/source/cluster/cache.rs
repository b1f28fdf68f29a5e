//! What the agent knows of the cluster, without IO.

mod network_policies;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use xdp_client::Store;
use xdp_crds::{XdpNodeStateStatus, policy::SetId};
use xdp_plan::{
    network_policy::IgnoredKind,
    permission::NamespaceLabels,
    pod::Pod,
    report::Problem,
    resolve::{PeerSlice, PolicyVersion},
};

use crate::source::cluster::{
    keyed::{KeyedStore, Shape},
    lists::PolicyLists,
    objects::{Node, Written},
    problems::{MissingLists, RequestFailure, absent_node, incomplete_lists, watch_problem, write_problem},
};

/// A watch that has not failed for this long works: a watch without events is silent when it recovers.
const CALM: Duration = Duration::from_secs(45);

/// Each namespace has a watch of its own: the API server selects policies by nothing else.
const POLICIES: Shape = Shape {
    keys: 1,
    watches: usize::MAX,
    interval: Duration::ZERO,
};
/// An identity has 56 characters, and a selector is in the address of a request: with this number, it stays
/// below the 16 KiB that proxies accept.
const SETS: Shape = Shape {
    keys: 200,
    watches: 4,
    interval: Duration::from_secs(1),
};
/// A name has at most 63 characters.
const NAMESPACES: Shape = Shape {
    keys: 200,
    watches: 2,
    interval: Duration::from_secs(1),
};

/// The kind of peer sets, in problems.
pub(super) const SET_KIND: &str = "XdpPeerSets";

/// Identifies a watch: its kind, and a number for each watch of the kind.
pub(super) type WatchId = (&'static str, u64);

/// The objects of the cluster that the agent needs, and the status to write.
pub(super) struct Cache {
    /// Policies, by namespace.
    pub(super) policies: KeyedStore<PolicyVersion>,
    /// Slices of peer sets, by set.
    pub(super) peer_sets: KeyedStore<Result<Arc<PeerSlice>, Problem>>,
    pub(super) pods: Store<Result<Pod, Problem>>,
    pub(super) nodes: Store<Node>,
    /// Labels of namespaces, by namespace.
    pub(super) namespaces: KeyedStore<BTreeMap<String, String>>,
    /// Whether the labels of namespaces decide about redirects: then policies wait for them.
    needs_namespaces: bool,
    /// `NetworkPolicies` and the like.
    pub(super) network: PolicyLists,
    /// The node's own state, as the API server stores it.
    pub(super) written: Store<Written>,
    /// The last known labels of the node: it may be absent for a while.
    labels: Option<BTreeMap<String, String>>,
    watch_failures: BTreeMap<WatchId, (Instant, RequestFailure)>,
    write_failure: Option<RequestFailure>,
    /// Time of the oldest change that the loop has not read. Changes before all lists are complete do not
    /// count.
    changed: Option<Instant>,
    /// The status to write.
    status: Option<XdpNodeStateStatus>,
}

impl Cache {
    /// Creates an empty cache.
    pub(super) fn new(needs_namespaces: bool, ignored: &[IgnoredKind]) -> Self {
        Self {
            policies: KeyedStore::new(POLICIES),
            peer_sets: KeyedStore::new(SETS),
            pods: Store::new(),
            nodes: Store::new(),
            namespaces: KeyedStore::new(NAMESPACES),
            needs_namespaces,
            network: PolicyLists::new(ignored),
            written: Store::new(),
            labels: None,
            watch_failures: BTreeMap::new(),
            write_failure: None,
            changed: None,
            status: None,
        }
    }

    /// Wants the policies of the namespaces that have pods here, and the labels of these namespaces. Returns
    /// whether that changes the watches.
    pub(super) fn want_namespaces(&mut self, now: Instant) -> bool {
        if !self.pods.is_complete() {
            return false;
        }
        let pods = self.pods.iter();
        let can_be_target = |pod: &Result<Pod, Problem>| pod.as_ref().map_or(true, Pod::owns_addresses);
        let pods = pods.filter(|(_, pod)| can_be_target(pod));
        let here: BTreeSet<String> = pods.map(|(name, _)| name.namespace.clone()).collect();
        let changed = self.policies.want(&here, now);
        changed | self.namespaces.want(&here, now)
    }

    /// Wants these sets. Returns whether that changes the watches.
    pub(super) fn want_sets(&mut self, sets: &BTreeSet<SetId>, now: Instant) -> bool {
        let keys = sets.iter().map(|set| set.as_str().to_owned()).collect();
        self.peer_sets.want(&keys, now)
    }

    /// Records a change that the loop has to read.
    pub(super) fn mark_changed(&mut self, now: Instant) {
        if let Some(node) = self.nodes.values().next() {
            self.labels = Some(node.labels.clone());
        }
        if self.node_labels().is_some() {
            self.changed.get_or_insert(now);
        }
    }

    pub(super) fn take_changed(&mut self) -> Option<Instant> {
        self.changed.take()
    }

    /// Records a failure of a watch. Returns whether it differs from the last one.
    pub(super) fn watch_failed(&mut self, watch: WatchId, failure: RequestFailure, now: Instant) -> bool {
        let before = self.watch_failures.get(&watch);
        let differs = before.is_none_or(|(_, before)| *before != failure);
        self.watch_failures.insert(watch, (now, failure));
        differs
    }

    /// Records that a watch works, or has ended. Returns whether it had failed.
    pub(super) fn watch_works(&mut self, watch: WatchId) -> bool {
        self.watch_failures.remove(&watch).is_some()
    }

    /// Records that the watches of a kind have ended.
    pub(super) fn watches_ended(&mut self, kind: &str) {
        self.watch_failures.retain(|(of, _), _| *of != kind);
    }

    /// Records the outcome of a write. Returns whether it differs from the last one.
    pub(super) fn set_write_outcome(&mut self, outcome: Result<(), RequestFailure>) -> bool {
        let before = std::mem::replace(&mut self.write_failure, outcome.err());
        before != self.write_failure
    }

    /// Returns the node's labels once all lists are complete.
    pub(super) fn node_labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref().filter(|_| self.missing().is_empty())
    }

    /// Returns the node's labels once everything is known that says which sets are needed.
    pub(super) fn labels_before_sets(&self) -> Option<&BTreeMap<String, String>> {
        let known = self.missing().into_iter().all(|missing| missing.kind == SET_KIND);
        self.labels.as_ref().filter(|_| known)
    }

    fn missing(&self) -> Vec<MissingLists> {
        let one = |kind, complete: bool| (!complete).then_some(MissingLists { kind, of: (0, 0) });
        let namespaces = self.needs_namespaces.then_some(&self.namespaces);
        let network = !self.network.is_ready();
        let lists = [
            keyed("XdpPolicies", &self.policies),
            network.then(|| MissingLists {
                kind: "NetworkPolicies",
                of: self.network.unknown(),
            }),
            keyed(SET_KIND, &self.peer_sets),
            one("Pods", self.pods.is_complete()),
            one("the Node", self.nodes.is_complete()),
            namespaces.and_then(|namespaces| keyed("Namespaces", namespaces)),
        ];
        lists.into_iter().flatten().collect()
    }

    /// Returns the policies of the namespaces whose lists are complete.
    pub(super) fn policies(&self, now: Instant) -> impl Iterator<Item = &PolicyVersion> {
        let policies = self.policies.objects().into_iter();
        let permitted =
            move |namespace: &str| !self.needs_namespaces || self.namespaces.is_decided(namespace, now);
        policies
            .filter(move |(name, _)| permitted(&name.namespace) && self.network.is_decided(&name.namespace))
            .map(|(_, version)| version)
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &Arc<PeerSlice>> {
        let sets = self.peer_sets.objects().into_values();
        sets.filter_map(|slice| slice.as_ref().ok())
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter_map(|pod| pod.as_ref().ok())
    }

    /// Returns the labels of namespaces with pods here, by name.
    pub(super) fn namespaces(&self) -> NamespaceLabels {
        let namespaces = self.namespaces.objects().into_iter();
        namespaces
            .map(|(key, labels)| (key.name.clone(), labels.clone()))
            .collect()
    }

    /// Returns the node if it exists.
    pub(super) fn node(&self) -> Option<&Node> {
        self.nodes.values().next()
    }

    /// Sets the status to write. Returns whether it has changed.
    pub(super) fn set_status(&mut self, status: XdpNodeStateStatus) -> bool {
        let changed = self.status.as_ref() != Some(&status);
        self.status = Some(status);
        changed
    }

    pub(super) const fn status(&self) -> Option<&XdpNodeStateStatus> {
        self.status.as_ref()
    }

    /// Returns all problems with the API server and with objects.
    pub(super) fn problems(&mut self, node: &str, now: Instant) -> Vec<Problem> {
        self.watch_failures
            .retain(|_, (last, _)| now.duration_since(*last) < CALM);
        let mut failures = BTreeMap::<&str, (&RequestFailure, usize)>::new();
        for ((kind, _), (_, failure)) in &self.watch_failures {
            failures.entry(kind).or_insert((failure, 0)).1 += 1;
        }
        let failures = failures.into_iter();
        let mut problems: Vec<Problem> = failures
            .map(|(kind, (failure, count))| watch_problem(kind, failure, count))
            .collect();
        problems.extend(self.write_failure.as_ref().map(write_problem));
        problems.extend(self.malformed_objects());
        let missing = self.missing();
        if !missing.is_empty() {
            problems.push(incomplete_lists(&missing));
        } else if self.node().is_none() {
            problems.push(absent_node(node, self.labels.is_some()));
        }
        problems
    }

    /// Returns malformed objects that may concern pods of this node.
    fn malformed_objects(&self) -> impl Iterator<Item = Problem> {
        let here: BTreeSet<&str> = self.pods().map(|pod| pod.namespace.as_str()).collect();
        let policies = self.policies.objects().into_iter();
        // A namespace is watched for a while after its last pod.
        let policies = policies.filter(move |(name, _)| here.contains(name.namespace.as_str()));
        let policies = policies.filter_map(|(_, version)| version.content.as_ref().err());
        let sets = self.peer_sets.objects().into_values();
        let sets = sets.filter_map(|set| set.as_ref().err());
        let pods = self.pods.values().filter_map(|pod| pod.as_ref().err());
        policies.chain(sets).chain(pods).cloned()
    }
}

fn keyed<V>(kind: &'static str, store: &KeyedStore<V>) -> Option<MissingLists> {
    let of = store.unknown();
    (!store.is_ready()).then_some(MissingLists { kind, of })
}

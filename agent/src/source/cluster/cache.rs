//! What the agent knows of the cluster, without IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use xdp_client::Store;
use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{
    permission::NamespaceLabels,
    pod::Pod,
    report::Problem,
    resolve::{PeerSlice, PolicyVersion},
};

use crate::source::cluster::{
    objects::{Node, Written},
    problems::{RequestFailure, absent_node, incomplete_lists, watch_problem, write_problem},
};

/// A watch that has not failed for this long works: a watch without events is silent when it recovers.
const CALM: Duration = Duration::from_secs(45);

/// The objects of the cluster that the agent needs, and the status to write.
#[derive(Default)]
pub(super) struct Cache {
    pub(super) policies: Store<PolicyVersion>,
    pub(super) peer_sets: Store<Result<PeerSlice, Problem>>,
    pub(super) pods: Store<Result<Pod, Problem>>,
    pub(super) nodes: Store<Node>,
    /// Labels of namespaces.
    pub(super) namespaces: Store<BTreeMap<String, String>>,
    /// Whether the labels of namespaces are needed.
    needs_namespaces: bool,
    /// The node's own state, as the API server stores it.
    pub(super) written: Store<Written>,
    /// The last known labels of the node: it may be absent for a while.
    labels: Option<BTreeMap<String, String>>,
    watch_failures: BTreeMap<&'static str, (Instant, RequestFailure)>,
    write_failure: Option<RequestFailure>,
    /// Time of the oldest change that the loop has not read. Changes before all lists are complete do not
    /// count.
    changed: Option<Instant>,
    /// The status to write.
    status: Option<XdpNodeStateStatus>,
}

impl Cache {
    /// Creates an empty cache.
    pub(super) fn new(needs_namespaces: bool) -> Self {
        Self {
            needs_namespaces,
            ..Self::default()
        }
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
    pub(super) fn watch_failed(&mut self, kind: &'static str, failure: RequestFailure, now: Instant) -> bool {
        let before = self.watch_failures.get(kind);
        let differs = before.is_none_or(|(_, before)| *before != failure);
        self.watch_failures.insert(kind, (now, failure));
        differs
    }

    /// Records that a watch works. Returns whether it had failed.
    pub(super) fn watch_works(&mut self, kind: &str) -> bool {
        self.watch_failures.remove(kind).is_some()
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

    fn missing(&self) -> Vec<&'static str> {
        let lists = [
            ("XdpPolicies", self.policies.is_complete()),
            ("XdpPeerSets", self.peer_sets.is_complete()),
            ("Pods", self.pods.is_complete()),
            ("the Node", self.nodes.is_complete()),
            (
                "Namespaces",
                !self.needs_namespaces || self.namespaces.is_complete(),
            ),
        ];
        let missing = lists.into_iter().filter(|(_, complete)| !complete);
        missing.map(|(name, _)| name).collect()
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &PolicyVersion> {
        self.policies.values()
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &PeerSlice> {
        self.peer_sets.values().filter_map(|slice| slice.as_ref().ok())
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter_map(|pod| pod.as_ref().ok())
    }

    /// Returns the labels of all namespaces, by name.
    pub(super) fn namespaces(&self) -> NamespaceLabels {
        let namespaces = self.namespaces.iter();
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
        let failures = self.watch_failures.iter();
        let mut problems: Vec<Problem> = failures
            .map(|(kind, (_, failure))| watch_problem(kind, failure))
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

    /// Returns malformed objects that may concern pods of this node. Each agent watches the objects of all
    /// namespaces.
    fn malformed_objects(&self) -> impl Iterator<Item = Problem> {
        let here: BTreeSet<&str> = self.pods().map(|pod| pod.namespace.as_str()).collect();
        let policies = self.policies.iter();
        let policies = policies.filter_map(|(key, version)| Some((key, version.content.as_ref().err()?)));
        let sets = self.peer_sets.iter();
        let sets = sets.filter_map(|(key, set)| Some((key, set.as_ref().err()?)));
        let concerning = policies
            .chain(sets)
            .filter(move |(key, _)| here.contains(key.namespace.as_str()));
        let pods = self.pods.values().filter_map(|pod| pod.as_ref().err());
        concerning.map(|(_, problem)| problem).chain(pods).cloned()
    }
}

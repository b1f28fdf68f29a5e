//! What is known of the cluster; pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{
    node_state::API_SERVER,
    pod::Pod,
    report::Problem,
    resolve::{PeerSlice, PolicyVersion},
};

use crate::source::cluster::{
    listed::Listed,
    objects::{Node, Written},
    problems::{Trouble, absent_node, not_written, unlisted, watch_problem},
};

/// A watch that failed and has not failed again for so long works: it says nothing when it does.
const FORGIVEN: Duration = Duration::from_secs(45);

/// Everything that was heard, and what is to be said.
#[derive(Default)]
pub(super) struct Cache {
    pub(super) policies: Listed<PolicyVersion>,
    pub(super) peer_sets: Listed<Result<PeerSlice, Problem>>,
    pub(super) pods: Listed<Result<Pod, Problem>>,
    pub(super) nodes: Listed<Node>,
    /// The node's own state, as the API server has it.
    pub(super) written: Listed<Written>,
    /// Labels of the node as last seen: it may be gone for a while.
    labels: Option<BTreeMap<String, String>>,
    troubles: BTreeMap<&'static str, (Instant, Trouble)>,
    unwritten: Option<Trouble>,
    /// When the oldest change came that the loop has not seen; what came before everything was listed is no change.
    changed: Option<Instant>,
    /// To be written.
    status: Option<XdpNodeStateStatus>,
}

impl Cache {
    /// Notes that something the loop must know has changed.
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

    /// A watch failed. Returns whether that is news.
    pub(super) fn failed(&mut self, watched: &'static str, trouble: Trouble, now: Instant) -> bool {
        let before = self.troubles.get(watched);
        let news = before.is_none_or(|(_, before)| *before != trouble);
        self.troubles.insert(watched, (now, trouble));
        news
    }

    /// A watch works. Returns whether that is news.
    pub(super) fn works(&mut self, watched: &str) -> bool {
        self.troubles.remove(watched).is_some()
    }

    /// The outcome of a write. Returns whether it is news.
    pub(super) fn wrote(&mut self, outcome: Result<(), Trouble>) -> bool {
        let before = std::mem::replace(&mut self.unwritten, outcome.err());
        before != self.unwritten
    }

    /// The node's labels, once everything was listed.
    pub(super) fn node_labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref().filter(|_| self.missing().is_empty())
    }

    fn missing(&self) -> Vec<&'static str> {
        let lists = [
            ("XdpPolicies", self.policies.known()),
            ("XdpPeerSets", self.peer_sets.known()),
            ("Pods", self.pods.known()),
            ("the Node", self.nodes.known()),
        ];
        let missing = lists.into_iter().filter(|(_, known)| !known);
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

    /// The node, if there is one.
    pub(super) fn node(&self) -> Option<&Node> {
        self.nodes.values().next()
    }

    /// Returns whether it is another one than before.
    pub(super) fn set_status(&mut self, status: XdpNodeStateStatus) -> bool {
        let changed = self.status.as_ref() != Some(&status);
        self.status = Some(status);
        changed
    }

    pub(super) const fn status(&self) -> Option<&XdpNodeStateStatus> {
        self.status.as_ref()
    }

    /// Everything that a person should know.
    pub(super) fn problems(&mut self, node: &str, now: Instant) -> Vec<Problem> {
        self.troubles
            .retain(|_, (since, _)| now.duration_since(*since) < FORGIVEN);
        let troubles = self.troubles.iter();
        let mut problems: Vec<Problem> = troubles
            .map(|(watched, (_, trouble))| watch_problem(watched, trouble))
            .collect();
        problems.extend(self.unwritten.as_ref().map(not_written));
        problems.extend(self.objects_problems());
        let missing = self.missing();
        if !missing.is_empty() {
            problems.push(unlisted(&missing));
        } else if self.node().is_none() {
            problems.push(absent_node(node, self.labels.is_some()));
        }
        problems
    }

    /// Malformed objects that may concern pods of this node: every agent of the cluster sees the others too.
    fn objects_problems(&self) -> impl Iterator<Item = Problem> {
        let here: BTreeSet<&str> = self.pods().map(|pod| pod.namespace.as_str()).collect();
        let policies = self.policies.entries();
        let policies = policies.filter_map(|(key, seen)| Some((key, seen.content.as_ref().err()?)));
        let sets = self.peer_sets.entries();
        let sets = sets.filter_map(|(key, set)| Some((key, set.as_ref().err()?)));
        let concerning = policies
            .chain(sets)
            .filter(move |(key, _)| here.contains(key.0.as_str()));
        let pods = self.pods.values().filter_map(|pod| pod.as_ref().err());
        concerning.map(|(_, problem)| problem).chain(pods).cloned()
    }
}

/// What a problem of the connection is about.
pub(super) fn about(what: &str) -> String {
    format!("{API_SERVER}: {what}")
}

//! What the operator knows of the cluster: only what its decisions need, kept up to date by watches.

mod cache;
mod objects;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

pub use cache::Cache;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
pub use objects::{
    NodeFacts, NodeState, Owner, PeerSet, PolicyObject, Refusal, Unusable, namespace, node, node_state,
    peer_set, pod, policy,
};
use xdp_crds::pod::Pod;

/// Namespace and name; objects of the cluster have no namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Namespace, empty for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// An object as a watch or the answer to a write gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<T> {
    /// Which one.
    pub name: Name,
    /// `metadata.resourceVersion`: the later of two has the larger number.
    pub version: u64,
    /// What matters of it; `None`: it says nothing usable, as if it were not there.
    pub value: Option<T>,
}

/// One event of one of the watches.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of policies.
    Policy(Event<Item<PolicyObject>>),
    /// Of pods.
    Pod(Event<Item<Pod>>),
    /// Of namespaces: their labels.
    Namespace(Event<Item<BTreeMap<String, String>>>),
    /// Of nodes.
    Node(Event<Item<NodeFacts>>),
    /// Of what agents report.
    NodeState(Event<Item<NodeState>>),
    /// Of what the operator itself writes for agents.
    PeerSet(Event<Item<PeerSet>>),
}

/// Everything known.
#[derive(Debug, Default)]
pub struct World {
    /// Policies, valid or not.
    pub policies: Cache<PolicyObject>,
    /// Pods of all namespaces.
    pub pods: Cache<Pod>,
    /// Labels of namespaces.
    pub namespaces: Cache<BTreeMap<String, String>>,
    /// Nodes.
    pub nodes: Cache<NodeFacts>,
    /// What agents report, by the name of the node.
    pub node_states: Cache<NodeState>,
    /// What has been written for agents.
    pub peer_sets: Cache<PeerSet>,
}

/// What can be known of a node from its agent.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// Nothing: nobody hears from the node, and what was reported may be no longer true.
    Unreachable,
    /// Nothing: it has not reported yet.
    Missing,
    /// Nothing: the node has been started anew since.
    FormerBoot,
    /// What it last reported.
    State(&'a NodeState),
}

impl<'a> From<Option<&'a NodeState>> for Report<'a> {
    fn from(state: Option<&'a NodeState>) -> Self {
        state.map_or(Self::Missing, Self::State)
    }
}

impl World {
    /// What is known of a node from its agent.
    pub fn report(&self, node: &str) -> Report<'_> {
        let name = Name::new("", node);
        let state = self.node_states.get(&name);
        match self.nodes.get(&name) {
            Some(node) if node.unreachable => Report::Unreachable,
            Some(node) if state.is_some_and(|state| state.is_of_another_boot(&node.boot_id)) => {
                Report::FormerBoot
            }
            _ => state.into(),
        }
    }

    /// Takes an event in; whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Policy(event) => self.policies.apply(event),
            Change::Pod(event) => self.pods.apply(event),
            Change::Namespace(event) => self.namespaces.apply(event),
            Change::Node(event) => self.nodes.apply(event),
            Change::NodeState(event) => self.node_states.apply(event),
            Change::PeerSet(event) => self.peer_sets.apply(event),
        }
    }

    /// Whether every list has been complete once. Before that, what is missing may only be unknown.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// The lists that have not been complete yet.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            ("xdppolicies", self.policies.is_complete()),
            ("pods", self.pods.is_complete()),
            ("namespaces", self.namespaces.is_complete()),
            ("nodes", self.nodes.is_complete()),
            ("xdpnodestates", self.node_states.is_complete()),
            ("xdppeersets", self.peer_sets.is_complete()),
        ]
        .into_iter()
        .filter_map(|(kind, complete)| (!complete).then_some(kind))
        .collect()
    }
}

impl Name {
    /// A name from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The name of an object.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

/// `games/players`, or `node-1` for objects of the cluster.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

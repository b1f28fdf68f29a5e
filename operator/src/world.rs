//! What the operator knows of the cluster: only what its decisions need, kept up to date by watches.

mod objects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use objects::{
    NodeFacts, NodeState, Owner, PeerSet, PolicyObject, Refusal, namespace, node, node_state, peer_set, pod,
    policy,
};
use xdp_client::{
    Store,
    object::{ObjectName, Versioned},
    watch::Event,
};
use xdp_crds::pod::Pod;

/// One event of one of the watches.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of policies.
    Policy(Event<Versioned<PolicyObject>>),
    /// Of pods.
    Pod(Event<Versioned<Pod>>),
    /// Of namespaces: their labels.
    Namespace(Event<Versioned<BTreeMap<String, String>>>),
    /// Of nodes.
    Node(Event<Versioned<NodeFacts>>),
    /// Of what agents report.
    NodeState(Event<Versioned<NodeState>>),
    /// Of what the operator itself writes for agents.
    PeerSet(Event<Versioned<PeerSet>>),
}

impl Change {
    /// Returns whether the change only says that a new list begins.
    pub const fn is_init(&self) -> bool {
        matches!(
            self,
            Self::Policy(Event::Init)
                | Self::Pod(Event::Init)
                | Self::Namespace(Event::Init)
                | Self::Node(Event::Init)
                | Self::NodeState(Event::Init)
                | Self::PeerSet(Event::Init)
        )
    }
}

/// Everything known.
#[derive(Debug, Default)]
pub struct World {
    /// Policies, valid or not.
    pub policies: Store<PolicyObject>,
    /// Pods of all namespaces.
    pub pods: Store<Pod>,
    /// Labels of namespaces.
    pub namespaces: Store<BTreeMap<String, String>>,
    /// Nodes.
    pub nodes: Store<NodeFacts>,
    /// What agents report, by the name of the node.
    pub node_states: Store<NodeState>,
    /// What has been written for agents.
    pub peer_sets: Store<PeerSet>,
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
        let name = ObjectName::new("", node);
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

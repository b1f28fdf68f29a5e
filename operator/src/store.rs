//! What the operator knows of the cluster: only what its decisions need, kept up to date by watches.

mod objects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use objects::{
    NodeInfo, PolicyObject, Refusal, ReportedState, SliceOwner, StoredSlice, namespace, node, node_state,
    peer_set, pod, policy,
};
use xdp_client::{
    Store,
    object::{ObjectName, Versioned},
    watch::Event,
};
use xdp_crds::{pod::Pod, policy::MarkMask};

/// An event of one of the watches.
#[derive(Clone, Debug)]
pub enum StoreEvent {
    /// Of policies.
    Policy(Event<Versioned<PolicyObject>>),
    /// Of pods.
    Pod(Event<Versioned<Pod>>),
    /// Of namespaces: their labels.
    Namespace(Event<Versioned<BTreeMap<String, String>>>),
    /// Of nodes.
    Node(Event<Versioned<NodeInfo>>),
    /// Of the states that agents report.
    NodeState(Event<Versioned<ReportedState>>),
    /// Of the slices that the operator itself writes.
    PeerSet(Event<Versioned<StoredSlice>>),
}

impl StoreEvent {
    /// Returns whether the event only says that an attempt to list starts.
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

/// All objects of the cluster that the operator needs.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// Policies, valid or not.
    pub policies: Store<PolicyObject>,
    /// Pods of all namespaces.
    pub pods: Store<Pod>,
    /// Labels of namespaces.
    pub namespaces: Store<BTreeMap<String, String>>,
    /// Nodes.
    pub nodes: Store<NodeInfo>,
    /// The states that agents report, by the name of the node.
    pub node_states: Store<ReportedState>,
    /// The slices of addresses written for agents.
    pub peer_sets: Store<StoredSlice>,
    /// The bits that the marks of rules may have. A policy with another mark is refused.
    pub marks: MarkMask,
}

/// What an agent reports about its node.
#[derive(Clone, Copy, Debug)]
pub enum AgentReport<'a> {
    /// The node is unreachable: its last report may be stale.
    Unreachable,
    /// The agent has not reported yet.
    Missing,
    /// The node has restarted since the last report.
    FormerBoot,
    /// The last report.
    State(&'a ReportedState),
}

impl<'a> From<Option<&'a ReportedState>> for AgentReport<'a> {
    fn from(state: Option<&'a ReportedState>) -> Self {
        state.map_or(Self::Missing, Self::State)
    }
}

fn checked(mut event: Event<Versioned<PolicyObject>>, marks: MarkMask) -> Event<Versioned<PolicyObject>> {
    if let Event::Apply(policy) | Event::InitApply(policy) = &mut event
        && let Some(policy) = &mut policy.value
    {
        policy.check_marks(marks);
    }
    event
}

impl ClusterState {
    /// Returns what the agent of a node reports.
    pub fn report(&self, node: &str) -> AgentReport<'_> {
        let name = ObjectName::new("", node);
        let state = self.node_states.get(&name);
        match self.nodes.get(&name) {
            Some(node) if node.unreachable => AgentReport::Unreachable,
            Some(node) if state.is_some_and(|state| state.is_of_another_boot(&node.boot_id)) => {
                AgentReport::FormerBoot
            }
            _ => state.into(),
        }
    }

    /// Applies an event. Returns whether anything has changed.
    pub fn apply(&mut self, event: StoreEvent) -> bool {
        match event {
            StoreEvent::Policy(event) => self.policies.apply(checked(event, self.marks)),
            StoreEvent::Pod(event) => self.pods.apply(event),
            StoreEvent::Namespace(event) => self.namespaces.apply(event),
            StoreEvent::Node(event) => self.nodes.apply(event),
            StoreEvent::NodeState(event) => self.node_states.apply(event),
            StoreEvent::PeerSet(event) => self.peer_sets.apply(event),
        }
    }

    /// Returns whether each kind has been listed completely. Before that, an absent object may exist.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Returns the kinds that have not been listed completely yet.
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

//! What the operator knows of the cluster: only what its decisions need, kept up to date by watches.

mod labels;
mod network_policies;
mod objects;
mod slim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use labels::{CompiledSelection, CompiledSelector, LabelPool, LabelSet};
pub use network_policies::{NETWORK_POLICY_KINDS, PolicyPeers, of_cluster, of_namespace};
pub use objects::{
    NodeInfo, PodFacts, PolicyObject, Refusal, ReportedState, StoredSlice, namespace, node, node_state,
    peer_set, pod, policy,
};
pub use slim::SlimPod;
use xdp_client::{
    Observed, Store,
    object::{ObjectName, Versioned},
    watch::Event,
};
use xdp_crds::{PolicyState, network_policy::PolicyKind, pod::Pod, policy::MarkMask};

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
    /// Of policies such as `NetworkPolicy`, of a kind.
    NetworkPolicy(PolicyKind, Event<Versioned<PolicyPeers>>),
    /// The API server does not serve such a kind (any more).
    NoNetworkPolicies(PolicyKind),
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
                | Self::NetworkPolicy(_, Event::Init)
        )
    }
}

/// What a change of an object concerns.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectChange {
    /// A policy.
    Policy(ObjectName),
    /// A pod that can receive packets: before and after.
    Pod(ObjectName, Option<PodFacts>, Option<PodFacts>),
    /// A namespace, and its labels before.
    Namespace(String, Option<LabelSet>),
    /// A node.
    Node(String),
    /// The report about policies with these uids, of a node.
    Reports(String, Vec<String>),
    /// The whole report of a node: there was none before, there is none now, or it is of another boot.
    WholeReport(String),
    /// A stored slice.
    PeerSet(ObjectName),
    /// Policies such as `NetworkPolicy` of a namespace, or without a namespace.
    NetworkPolicies(String),
}

/// All objects of the cluster that the operator needs.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// The namespace of the operator, where the slices are.
    pub namespace: String,
    /// All labels of pods and namespaces.
    pub labels: LabelPool,
    /// Policies, valid or not.
    pub policies: Store<PolicyObject>,
    /// Pods of all namespaces that can receive packets.
    pub pods: Store<PodFacts>,
    /// Labels of namespaces.
    pub namespaces: Store<LabelSet>,
    /// Nodes.
    pub nodes: Store<NodeInfo>,
    /// The states that agents report, by the name of the node.
    pub node_states: Store<ReportedState>,
    /// The slices of addresses written for agents.
    pub peer_sets: Store<StoredSlice>,
    /// The pods that policies such as `NetworkPolicy` name as sources, by kind.
    pub network_policies: BTreeMap<PolicyKind, Store<PolicyPeers>>,
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

/// Returns what differs between two reports of a node.
fn report_change((name, before, after): Observed<'_, ReportedState>) -> ObjectChange {
    let node = &name.name;
    let content = |state: Option<&ReportedState>| state.and_then(|state| state.0.as_ref().ok()).cloned();
    let (Some(before), Some(after)) = (content(before), content(after)) else {
        return ObjectChange::WholeReport(node.clone());
    };
    if before.boot_id != after.boot_id {
        return ObjectChange::WholeReport(node.clone());
    }
    let differs = |of: &[PolicyState], other: &[PolicyState]| -> Vec<String> {
        let differing = of.iter().filter(|report| !other.contains(report));
        differing.map(|report| report.uid.clone()).collect()
    };
    let mut uids = differs(&before.policies, &after.policies);
    uids.extend(differs(&after.policies, &before.policies));
    ObjectChange::Reports(node.clone(), uids)
}

/// Converts the object of an event.
fn map<A, B>(event: Event<Versioned<A>>, mut convert: impl FnMut(A) -> Option<B>) -> Event<Versioned<B>> {
    let mut object = |object: Versioned<A>| Versioned {
        name: object.name,
        version: object.version,
        value: object.value.and_then(&mut convert),
    };
    match event {
        Event::Apply(applied) => Event::Apply(object(applied)),
        Event::Delete(deleted) => Event::Delete(object(deleted)),
        Event::Init => Event::Init,
        Event::InitApply(listed) => Event::InitApply(object(listed)),
        Event::InitDone => Event::InitDone,
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

    /// Applies an event. Returns what has changed.
    pub fn apply(&mut self, event: StoreEvent) -> Vec<ObjectChange> {
        let mut changes = Vec::new();
        match event {
            StoreEvent::Policy(event) => {
                let event = checked(event, self.marks);
                self.policies.apply_observed(event, |(name, ..)| {
                    changes.push(ObjectChange::Policy(name.clone()));
                });
            }
            StoreEvent::Pod(event) => {
                let event = map(event, |pod| PodFacts::new(&pod, &mut self.labels));
                self.pods.apply_observed(event, |(name, before, after)| {
                    changes.push(ObjectChange::Pod(name.clone(), before.cloned(), after.cloned()));
                });
            }
            StoreEvent::Namespace(event) => {
                let event = map(event, |labels| Some(self.labels.labels(&labels)));
                self.namespaces.apply_observed(event, |(name, before, _)| {
                    changes.push(ObjectChange::Namespace(name.name.clone(), before.cloned()));
                });
            }
            StoreEvent::Node(event) => self.nodes.apply_observed(event, |(name, ..)| {
                changes.push(ObjectChange::Node(name.name.clone()));
            }),
            StoreEvent::NodeState(event) => self.node_states.apply_observed(event, |seen| {
                changes.push(report_change(seen));
            }),
            StoreEvent::PeerSet(event) => self.peer_sets.apply_observed(event, |(name, ..)| {
                changes.push(ObjectChange::PeerSet(name.clone()));
            }),
            StoreEvent::NetworkPolicy(kind, event) => {
                let store = self.network_policies.entry(kind).or_default();
                let mut namespaces = BTreeSet::new();
                store.apply_observed(event, |(name, ..)| {
                    namespaces.insert(name.namespace.clone());
                });
                changes.extend(namespaces.into_iter().map(ObjectChange::NetworkPolicies));
            }
            StoreEvent::NoNetworkPolicies(kind) => {
                let store = self.network_policies.entry(kind).or_default();
                store.apply(Event::Init);
                store.apply(Event::InitDone);
                changes.push(ObjectChange::NetworkPolicies(String::new()));
            }
        }
        changes
    }

    /// Stores a policy as the API server has answered, and calls `observe` if it changes. One that is absent
    /// has been deleted since: a write of its status creates none.
    pub fn put_policy(&mut self, mut policy: Versioned<PolicyObject>, mut observe: impl FnMut(&ObjectName)) {
        if self.policies.get(&policy.name).is_none() {
            return;
        }
        if let Some(policy) = &mut policy.value {
            policy.check_marks(self.marks);
        }
        self.policies.put_observed(policy, |(name, ..)| observe(name));
    }

    /// Returns the labels of a namespace. `None`: they are not known yet.
    pub fn namespace_labels(&self, name: &str) -> Option<&LabelSet> {
        self.namespaces.get(&ObjectName::new("", name))
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
        .chain(NETWORK_POLICY_KINDS.map(|kind| {
            let store = self.network_policies.get(&kind);
            (kind.kind, store.is_some_and(Store::is_complete))
        }))
        .filter_map(|(kind, complete)| (!complete).then_some(kind))
        .collect()
    }
}

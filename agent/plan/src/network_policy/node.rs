//! What is certainly allowed to each pod of a node, kept between reconciles.
//!
//! A tenant may write thousands of policies, and change one of them all the time. So a change is matched
//! only against the pods of its namespace, a pod is evaluated again only if something that it depends on has
//! changed, equal pods are evaluated once, and one reconcile does no more than [`BUDGET`]: the cheapest pods
//! first, so that those of a hostile tenant wait, not those of others.

mod namespace;
mod selected;
mod sets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use namespace::{Inputs, OfNamespace};
pub use sets::KnownSets;
use xdp_crds::{
    network_policy::{ClusterSet, IngressPolicy, NetworkPolicyError, PolicyKind, PolicyName},
    pod::Pod,
    policy::{PodSelection, SetId},
};

use super::{CertainTraffic, ForeignPolicy, NotCertain, NotCertainReason};
use crate::{permission::NamespaceLabels, targets::PodCertainty};

/// How much one reconcile evaluates, in peers, ports and rules of policies that select a pod: about 50 ms.
const BUDGET: usize = 5_000;
/// The most sets that the policies of one namespace's pods have the agent read. Rules about others are not
/// certain.
const MAX_SETS: usize = 1_000;

/// A policy as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownPolicy {
    /// It is evaluated.
    Ingress(Arc<IngressPolicy>),
    /// It cannot be read.
    Unreadable(Arc<NetworkPolicyError>),
    /// It is of another engine.
    Foreign(Arc<ForeignPolicy>),
}

/// Policies that may exist, and are not known: their list is not complete, or the API server refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlistedPolicies<'a> {
    /// The kind.
    pub kind: PolicyKind,
    /// The namespace. `None`: the kind is cluster-scoped, or it is unknown whether it is served.
    pub namespace: Option<&'a str>,
}

/// What is known of policies at the moment.
#[derive(Clone, Debug, Default)]
pub struct NodePolicies<'a> {
    /// Policies of namespaces, by namespace; each list in a fixed order.
    pub of_namespaces: BTreeMap<&'a str, Vec<&'a KnownPolicy>>,
    /// Cluster-scoped policies, in a fixed order.
    pub of_cluster: Vec<&'a KnownPolicy>,
    /// What is not known.
    pub unlisted: Vec<UnlistedPolicies<'a>>,
}

/// What is certainly allowed to the pods of a node, and what that was computed from.
#[derive(Debug)]
pub struct NodeCertainty {
    namespaces: BTreeMap<String, OfNamespace>,
    everything: Arc<CertainTraffic>,
    started: bool,
}

impl Default for NodeCertainty {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            everything: Arc::new(CertainTraffic::everything()),
            started: false,
        }
    }
}

/// The result for all pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluatedPods {
    /// What is certainly allowed to each pod.
    pub certainty: PodCertainty,
    /// Whether pods are left to evaluate: until then, nothing is certain for them.
    pub pending: bool,
}

impl KnownPolicy {
    /// Returns whether the policy selects a pod, or may. `labels` are those of the pod's namespace, if they
    /// are known.
    pub fn may_select(&self, pod: &Pod, labels: Option<&BTreeMap<String, String>>) -> bool {
        let included =
            |selection: &PodSelection| selection.includes(&pod.namespace, labels, &pod.labels) != Some(false);
        match self {
            Self::Ingress(policy) => included(&policy.subject),
            Self::Unreadable(error) => included(&error.may_select()),
            Self::Foreign(policy) => policy.may_restrict(pod, labels),
        }
    }

    /// Returns kind, namespace and name.
    pub fn name(&self) -> &PolicyName {
        match self {
            Self::Ingress(policy) => &policy.name,
            Self::Unreadable(error) => &error.policy,
            Self::Foreign(policy) => policy.name(),
        }
    }
}

impl NodeCertainty {
    /// Finds the policies that select these pods. What is known of other pods is forgotten.
    pub fn select<'p>(
        &mut self,
        pods: impl IntoIterator<Item = &'p Pod>,
        policies: &NodePolicies<'_>,
        labels: &NamespaceLabels,
    ) {
        let mut by_namespace = BTreeMap::<&str, Vec<&Pod>>::new();
        for pod in pods {
            by_namespace.entry(&pod.namespace).or_default().push(pod);
        }
        self.namespaces
            .retain(|name, _| by_namespace.contains_key(name.as_str()));
        for (name, pods) in by_namespace {
            let own = policies.of_namespaces.get(name).map_or(&[][..], Vec::as_slice);
            let unlisted = policies.unlisted.iter();
            let mut unlisted = unlisted.filter(|list| list.namespace.is_none_or(|of| of == name));
            let inputs = Inputs {
                policies: own.iter().chain(&policies.of_cluster).copied().collect(),
                labels: labels.get(name),
                unlisted: unlisted.next().map(|list| unlisted_policy(list.kind, Some(name))),
            };
            self.namespaces
                .entry(name.to_owned())
                .or_default()
                .select(&pods, &inputs);
        }
    }

    /// Returns whether the policies that select a pod were followed before.
    pub fn knows(&self, pod: &Pod) -> bool {
        let namespace = self.namespaces.get(&pod.namespace);
        namespace.is_some_and(|namespace| namespace.has(&pod.name))
    }

    /// Returns the sets that the pods need.
    pub fn needed(&self) -> BTreeSet<SetId> {
        let mut needed = BTreeSet::new();
        for namespace in self.namespaces.values() {
            let sets: BTreeSet<&SetId> = namespace.sets().collect();
            needed.extend(sets.into_iter().take(MAX_SETS).cloned());
        }
        let mut namespaces = self.namespaces.values();
        if namespaces.any(OfNamespace::is_selected) {
            needed.extend(ClusterSet::ALL.map(ClusterSet::id));
        }
        needed
    }

    /// Evaluates what has changed. `labels` are as they were for [`Self::select`].
    pub fn evaluate(&mut self, sets: &KnownSets, labels: &NamespaceLabels) -> EvaluatedPods {
        // At the start, what is programmed stays until everything is evaluated.
        let budget = if std::mem::replace(&mut self.started, true) {
            BUDGET
        } else {
            usize::MAX
        };
        let mut results = vec![Arc::clone(&self.everything)];
        let mut stale = Vec::new();
        for (name, namespace) in &mut self.namespaces {
            namespace.renew(sets, &self.everything);
            results.extend(namespace.results().cloned());
            let costs = namespace.stale().into_iter();
            stale.extend(costs.map(|(cost, pod)| (cost, name.clone(), pod)));
        }
        stale.sort();
        let (mut spent, mut pending) = (0_usize, false);
        for (cost, name, pod) in stale {
            let Some(namespace) = self.namespaces.get_mut(&name) else {
                continue;
            };
            if namespace.has_equal(&pod) {
                continue;
            }
            if spent > 0 && spent.saturating_add(cost) > budget {
                pending = true;
                continue;
            }
            spent = spent.saturating_add(cost);
            let result = shared(namespace.evaluate(&pod, sets, labels), &mut results);
            namespace.set(&pod, result);
        }
        let certainty = self.namespaces.iter();
        let certainty = certainty.flat_map(|(name, namespace)| namespace.certainty(name));
        EvaluatedPods {
            certainty: certainty.collect(),
            pending,
        }
    }
}

/// Returns an equal result that is there, or adds it.
fn shared(result: CertainTraffic, results: &mut Vec<Arc<CertainTraffic>>) -> Arc<CertainTraffic> {
    let equal = results.iter().find(|other| ***other == result).cloned();
    equal.unwrap_or_else(|| {
        let result = Arc::new(result);
        results.push(Arc::clone(&result));
        result
    })
}

/// Returns the traffic of a pod about which policies of a kind may say anything.
fn unlisted_policy(kind: PolicyKind, namespace: Option<&str>) -> NotCertain {
    NotCertain {
        policy: PolicyName {
            kind,
            namespace: namespace.map(str::to_owned),
            name: "*".to_owned(),
        },
        reason: NotCertainReason::PoliciesPending,
    }
}

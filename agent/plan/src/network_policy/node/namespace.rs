//! The pods of one namespace, and the policies that select them.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::{pod::Pod, policy::SetId};

use super::{
    KnownPolicy, KnownSets,
    selected::{Addresses, Change, SelectedPod},
    unlisted_policy,
};
use crate::{
    network_policy::{CertainTraffic, ForeignPolicy, NotCertain, PolicyFacts},
    permission::NamespaceLabels,
    targets::PodCertainty,
};

type Labels = BTreeMap<String, String>;

/// What may change in a namespace.
pub(super) struct Inputs<'a> {
    pub(super) policies: Vec<&'a KnownPolicy>,
    pub(super) labels: Option<&'a Labels>,
    /// A reason for which nothing is certain for any pod.
    pub(super) unlisted: Option<NotCertain>,
}

/// What was known at the last reconcile.
#[derive(Debug, Default)]
pub(super) struct OfNamespace {
    policies: Vec<KnownPolicy>,
    labels: Option<Labels>,
    unlisted: Option<NotCertain>,
    pods: BTreeMap<String, SelectedPod>,
}

impl OfNamespace {
    pub(super) fn select(&mut self, pods: &[&Pod], inputs: &Inputs<'_>) {
        let same_labels = self.labels.as_ref() == inputs.labels;
        let change = Change::new(&self.policies, &inputs.policies);
        if !same_labels {
            self.labels = inputs.labels.cloned();
        }
        self.unlisted.clone_from(&inputs.unlisted);
        let mut before = std::mem::take(&mut self.pods);
        for pod in pods {
            let known = before.remove(&pod.name);
            let selected = match known.filter(|known| same_labels && known.is_like(pod)) {
                Some(mut known) => {
                    known.follow(&change, &inputs.policies, inputs.labels);
                    known
                }
                None => SelectedPod::new(pod, &inputs.policies, inputs.labels),
            };
            self.pods.insert(pod.name.clone(), selected);
        }
        if !change.is_empty() {
            self.policies = inputs.policies.iter().map(|policy| (*policy).clone()).collect();
        }
    }

    pub(super) fn has(&self, pod: &str) -> bool {
        self.pods.contains_key(pod)
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &SetId> {
        self.pods.values().flat_map(SelectedPod::sets)
    }

    /// Returns whether a policy selects a pod.
    pub(super) fn is_selected(&self) -> bool {
        self.pods.values().any(|pod| !pod.selecting.is_empty())
    }

    /// Drops the results that depend on addresses that have changed.
    pub(super) fn renew(&mut self, sets: &KnownSets, everything: &Arc<CertainTraffic>) {
        for pod in self.pods.values_mut() {
            if pod.selecting.is_empty() {
                pod.result = Some(Arc::clone(everything));
                continue;
            }
            let addresses = Some(Addresses {
                sets: pod.sets().map(|set| sets.sets.get(set).cloned()).collect(),
                cluster: sets.cluster.clone(),
            });
            if pod.addresses != addresses {
                pod.addresses = addresses;
                pod.result = None;
            }
        }
    }

    pub(super) fn results(&self) -> impl Iterator<Item = &Arc<CertainTraffic>> {
        self.pods.values().filter_map(|pod| pod.result.as_ref())
    }

    /// Returns the pods without a result, with what each costs.
    pub(super) fn stale(&self) -> Vec<(usize, String)> {
        let stale = self.pods.iter().filter(|(_, pod)| pod.result.is_none());
        stale.map(|(name, pod)| (pod.cost(), name.clone())).collect()
    }

    /// Takes the result of another pod that is selected by the same policies and has the same ports, if there
    /// is one. Returns whether there is.
    pub(super) fn has_equal(&mut self, name: &str) -> bool {
        let Some(pod) = self.pods.get(name) else {
            return true;
        };
        let same = |other: &&SelectedPod| {
            other.result.is_some()
                && other.pod.ports == pod.pod.ports
                && other.pod.ambiguous_ports == pod.pod.ambiguous_ports
                && other.selecting == pod.selecting
        };
        let equal = self.pods.values().find(same);
        let Some(result) = equal.and_then(|other| other.result.clone()) else {
            return false;
        };
        self.set(name, result);
        true
    }

    pub(super) fn evaluate(&self, name: &str, sets: &KnownSets, labels: &NamespaceLabels) -> CertainTraffic {
        let pod = &self.pods[name];
        let (mut policies, mut unreadable, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for (_, policy) in &pod.selecting {
            match policy {
                KnownPolicy::Ingress(policy) => policies.push(Arc::clone(policy)),
                // One is enough: nothing is certain.
                KnownPolicy::Unreadable(error) if unreadable.is_empty() => unreadable.push((**error).clone()),
                KnownPolicy::Foreign(policy) if foreign.is_empty() => {
                    foreign.push(ForeignPolicy::clone(policy));
                }
                KnownPolicy::Unreadable(_) | KnownPolicy::Foreign(_) => {}
            }
        }
        let facts = PolicyFacts {
            policies: &policies,
            unreadable: &unreadable,
            foreign: &foreign,
            sets: &sets.sets,
            cluster: sets.cluster.as_deref(),
            namespaces: labels,
        };
        facts.of(&pod.pod).certain_traffic()
    }

    pub(super) fn set(&mut self, name: &str, result: Arc<CertainTraffic>) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.result = Some(result);
        }
    }

    pub(super) fn certainty(&self, namespace: &str) -> PodCertainty {
        let nothing = |why: NotCertain| Arc::new(CertainTraffic::nothing(why));
        let unlisted = self.unlisted.clone().map(nothing);
        let of = |pod: &SelectedPod| {
            let waiting = || pod.selecting.first().map(|(_, policy)| policy.name().kind);
            let result = unlisted.clone().or_else(|| pod.result.clone());
            result.or_else(|| Some(nothing(unlisted_policy(waiting()?, Some(namespace)))))
        };
        let pods = self.pods.iter();
        pods.filter_map(|(name, pod)| Some(((namespace.to_owned(), name.clone()), of(pod)?)))
            .collect()
    }
}

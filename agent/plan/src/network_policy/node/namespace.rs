//! The pods of one namespace, and the policies that select them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_crds::{
    network_policy::{PolicyRule, PolicySources},
    pod::Pod,
    policy::SetId,
};

use super::{KnownPolicy, KnownSets, unlisted_policy};
use crate::{
    network_policy::{AddressSet, CertainTraffic, ClusterAddresses, ForeignPolicy, NotCertain, PolicyFacts},
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

#[derive(Debug)]
struct SelectedPod {
    /// Of the pod, only what decides: labels and named ports.
    pod: Pod,
    /// The policies that select the pod, with their places in the list.
    selecting: Vec<(usize, KnownPolicy)>,
    addresses: Option<Addresses>,
    result: Option<Arc<CertainTraffic>>,
}

/// The addresses that the policies of a pod refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses {
    sets: Vec<Option<Arc<AddressSet>>>,
    cluster: Option<Arc<ClusterAddresses>>,
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

    /// Takes the result of a pod that is selected by the same policies and has the same ports. Returns
    /// whether there is one.
    pub(super) fn reuse(&mut self, name: &str) -> bool {
        let pod = &self.pods[name];
        let same = |other: &&SelectedPod| {
            other.result.is_some()
                && other.pod.ports == pod.pod.ports
                && other.pod.ambiguous_ports == pod.pod.ambiguous_ports
                && other.selecting == pod.selecting
        };
        let result = self
            .pods
            .values()
            .find(same)
            .and_then(|other| other.result.clone());
        let found = result.is_some();
        self.pods.get_mut(name).expect("it is in the list").result = result;
        found
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

impl SelectedPod {
    fn new(pod: &Pod, policies: &[&KnownPolicy], labels: Option<&Labels>) -> Self {
        let pod = Pod {
            namespace: pod.namespace.clone(),
            labels: pod.labels.clone(),
            ports: pod.ports.clone(),
            ambiguous_ports: pod.ambiguous_ports.clone(),
            ..Pod::default()
        };
        let selecting = policies.iter().enumerate();
        let selecting = selecting.filter(|(_, policy)| policy.may_select(&pod, labels));
        let selecting = selecting.map(|(place, policy)| (place, (*policy).clone()));
        Self {
            selecting: selecting.collect(),
            pod,
            addresses: None,
            result: None,
        }
    }

    fn is_like(&self, pod: &Pod) -> bool {
        let Pod {
            labels,
            ports,
            ambiguous_ports,
            ..
        } = &self.pod;
        *labels == pod.labels && *ports == pod.ports && *ambiguous_ports == pod.ambiguous_ports
    }

    /// Follows a change of the list of policies.
    fn follow(&mut self, change: &Change, policies: &[&KnownPolicy], labels: Option<&Labels>) {
        if change.is_empty() {
            return;
        }
        let before = self.selecting.iter().map(|(_, policy)| policy.clone());
        let before: Vec<KnownPolicy> = before.collect();
        let (head, tail) = (change.head, change.tail);
        let old_tail = change.before - tail;
        let new_tail = policies.len() - tail;
        let mut selecting: Vec<(usize, KnownPolicy)> = Vec::new();
        let kept = std::mem::take(&mut self.selecting);
        let (first, last): (Vec<_>, Vec<_>) = kept
            .into_iter()
            .filter(|(place, _)| *place < head || *place >= old_tail)
            .partition(|(place, _)| *place < head);
        selecting.extend(first);
        for (place, policy) in policies.iter().enumerate().take(new_tail).skip(head) {
            if policy.may_select(&self.pod, labels) {
                selecting.push((place, (*policy).clone()));
            }
        }
        selecting.extend(
            last.into_iter()
                .map(|(place, policy)| (place - old_tail + new_tail, policy)),
        );
        self.selecting = selecting;
        if !self.selecting.iter().map(|(_, policy)| policy).eq(&before) {
            (self.result, self.addresses) = (None, None);
        }
    }

    fn sets(&self) -> impl Iterator<Item = &SetId> {
        let policies = self.selecting.iter().filter_map(|(_, policy)| match policy {
            KnownPolicy::Ingress(policy) => Some(policy),
            KnownPolicy::Unreadable(_) | KnownPolicy::Foreign(_) => None,
        });
        let sets: BTreeSet<&SetId> = policies
            .flat_map(|policy| policy.selections().map(|(_, set)| set))
            .collect();
        sets.into_iter()
    }

    fn cost(&self) -> usize {
        let policy = |(_, policy): &(usize, KnownPolicy)| match policy {
            KnownPolicy::Ingress(policy) => policy.rules.iter().map(size).sum(),
            KnownPolicy::Unreadable(_) | KnownPolicy::Foreign(_) => 0,
        };
        self.selecting.iter().map(policy).sum::<usize>() + 1
    }
}

/// Returns the number of peers and ports, and one for the rule.
fn size(rule: &PolicyRule) -> usize {
    let peers = match &rule.from {
        PolicySources::Any => 0,
        PolicySources::Listed(peers) => peers.len(),
    };
    1 + peers + rule.ports.len()
}

/// The part of a list that has changed: all but its head and its tail.
struct Change {
    before: usize,
    after: usize,
    head: usize,
    tail: usize,
}

impl Change {
    fn new(before: &[KnownPolicy], after: &[&KnownPolicy]) -> Self {
        let pairs = before.iter().zip(after);
        let head = pairs.take_while(|(old, new)| *old == **new).count();
        let pairs = before[head..].iter().rev().zip(after[head..].iter().rev());
        let tail = pairs.take_while(|(old, new)| *old == **new).count();
        Self {
            before: before.len(),
            after: after.len(),
            head,
            tail,
        }
    }

    const fn is_empty(&self) -> bool {
        self.head == self.before && self.before == self.after
    }
}

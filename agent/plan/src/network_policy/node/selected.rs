//! One pod, and the policies that select it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_crds::{
    network_policy::{PolicyRule, PolicySources},
    pod::Pod,
    policy::SetId,
};

use super::KnownPolicy;
use crate::network_policy::{AddressSet, CertainTraffic, ClusterAddresses};

type Labels = BTreeMap<String, String>;

/// A pod with what was computed for it.
#[derive(Debug)]
pub(super) struct SelectedPod {
    /// Of the pod, only what decides: labels and named ports.
    pub(super) pod: Pod,
    /// The policies that select the pod, with their places in the list.
    pub(super) selecting: Vec<(usize, KnownPolicy)>,
    pub(super) addresses: Option<Addresses>,
    pub(super) result: Option<Arc<CertainTraffic>>,
}

/// The addresses that the policies of a pod refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) sets: Vec<Option<Arc<AddressSet>>>,
    pub(super) cluster: Option<Arc<ClusterAddresses>>,
}

impl SelectedPod {
    pub(super) fn new(pod: &Pod, policies: &[&KnownPolicy], labels: Option<&Labels>) -> Self {
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

    pub(super) fn is_like(&self, pod: &Pod) -> bool {
        let Pod {
            labels,
            ports,
            ambiguous_ports,
            ..
        } = &self.pod;
        *labels == pod.labels && *ports == pod.ports && *ambiguous_ports == pod.ambiguous_ports
    }

    /// Follows a change of the list of policies.
    pub(super) fn follow(&mut self, change: &Change, policies: &[&KnownPolicy], labels: Option<&Labels>) {
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

    pub(super) fn sets(&self) -> impl Iterator<Item = &SetId> {
        let policies = self.selecting.iter().filter_map(|(_, policy)| match policy {
            KnownPolicy::Ingress(policy) => Some(policy),
            KnownPolicy::Unreadable(_) | KnownPolicy::Foreign(_) => None,
        });
        let sets: BTreeSet<&SetId> = policies
            .flat_map(|policy| policy.selections().map(|(_, set)| set))
            .collect();
        sets.into_iter()
    }

    pub(super) fn cost(&self) -> usize {
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
pub(super) struct Change {
    before: usize,
    after: usize,
    head: usize,
    tail: usize,
}

impl Change {
    pub(super) fn new(before: &[KnownPolicy], after: &[&KnownPolicy]) -> Self {
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

    pub(super) const fn is_empty(&self) -> bool {
        self.head == self.before && self.before == self.after
    }
}

//! The address sets that policies such as `NetworkPolicy` need. They are counted apart from those of
//! `XdpPolicies`: neither displaces the other.

use std::collections::{BTreeMap, BTreeSet};

use xdp_client::object::ObjectName;
use xdp_crds::{
    network_policy::{ClusterSet, NETWORK_POLICY},
    policy::{PodSelection, Policy, SetId},
};

use super::{PeerLimits, cluster_addresses::ClusterAddresses};
use crate::{
    peers::PeerSets,
    store::{ClusterState, NETWORK_POLICY_KINDS},
};

/// The sets in use, by namespace. Policies of the cluster have none: an empty name.
#[derive(Debug)]
pub(super) struct NetworkPolicies {
    limits: PeerLimits,
    held: BTreeMap<String, Held>,
}

#[derive(Debug, Default)]
struct Held {
    sets: BTreeSet<SetId>,
    /// Whether the sets of the cluster are in use.
    of_cluster: bool,
}

impl NetworkPolicies {
    pub(super) const fn new(limits: PeerLimits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
        }
    }

    /// Starts from complete lists.
    pub(super) fn build(
        &mut self,
        sets: &mut PeerSets,
        cluster: &mut ClusterState,
        addresses: &ClusterAddresses,
    ) {
        let stores = cluster.network_policies.values();
        let namespaces = stores.flat_map(|store| store.iter().map(|(name, _)| name.namespace.clone()));
        let namespaces: BTreeSet<String> = namespaces.collect();
        for namespace in namespaces {
            self.refresh(&namespace, sets, cluster, addresses);
        }
    }

    /// Follows the policies of a namespace, or those of the cluster, and whether a policy there redirects:
    /// otherwise no agent asks what they say. Returns the sets that may have changed.
    pub(super) fn refresh(
        &mut self,
        namespace: &str,
        sets: &mut PeerSets,
        cluster: &mut ClusterState,
        addresses: &ClusterAddresses,
    ) -> BTreeSet<SetId> {
        let matters = redirects(namespace, cluster);
        let (wanted, has_policies) = if matters {
            wanted(namespace, cluster)
        } else {
            (Vec::new(), false)
        };
        let mut changed = BTreeSet::new();
        let held = self.held.entry(namespace.to_owned()).or_default();
        if has_policies != held.of_cluster {
            held.of_cluster = has_policies;
            for set in ClusterSet::ALL {
                if has_policies {
                    sets.acquire_cluster_set(set, namespace, addresses.content(set), cluster);
                } else {
                    sets.release(&set.id(), namespace);
                }
                changed.insert(set.id());
            }
        }
        let limits = self.limits.of(namespace);
        let kept: BTreeMap<SetId, PodSelection> = wanted.into_iter().take(limits.sets).collect();
        let gone: Vec<SetId> = held
            .sets
            .iter()
            .filter(|id| !kept.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            held.sets.remove(&id);
            sets.release(&id, namespace);
            changed.insert(id);
        }
        let mut total: usize = held.sets.iter().map(|id| sets.len_of(id)).sum();
        for (id, selection) in kept {
            if held.sets.contains(&id) {
                continue;
            }
            sets.acquire(&selection, &id, namespace, cluster);
            total += sets.len_of(&id);
            if total > limits.addresses {
                total -= sets.len_of(&id);
                sets.release(&id, namespace);
            } else {
                changed.insert(id.clone());
                held.sets.insert(id);
            }
        }
        if held.sets.is_empty() && !held.of_cluster {
            self.held.remove(namespace);
        }
        changed
    }
}

impl PeerLimits {
    /// Policies of the cluster are the administrator's: they have no limits.
    const fn of(self, namespace: &str) -> Self {
        if namespace.is_empty() {
            Self {
                sets: usize::MAX,
                addresses: usize::MAX,
            }
        } else {
            self
        }
    }
}

/// Whether a policy of the namespace, or of any namespace, redirects. One that says `networkPolicy: Ignore`
/// counts, too: without the administrator's consent, agents honour it all the same.
fn redirects(namespace: &str, cluster: &ClusterState) -> bool {
    let policies: Box<dyn Iterator<Item = _>> = if namespace.is_empty() {
        Box::new(cluster.policies.iter())
    } else {
        Box::new(cluster.policies.within(namespace, ""))
    };
    let mut contents = policies.filter_map(|(_, policy)| policy.content.as_ref().ok());
    contents.any(Policy::redirects)
}

/// Returns the selections of the policies of a namespace, each once, those of the oldest policy first; and
/// whether there are policies.
fn wanted(namespace: &str, cluster: &ClusterState) -> (Vec<(SetId, PodSelection)>, bool) {
    let of_kind = |kind| cluster.network_policies.get(&kind).into_iter();
    let stores = NETWORK_POLICY_KINDS
        .into_iter()
        .filter(|kind| (*kind == NETWORK_POLICY) != namespace.is_empty());
    let mut policies: Vec<_> = stores
        .flat_map(of_kind)
        .flat_map(|store| store.within(namespace, ""))
        .collect();
    policies.sort_by_key(|(name, policy): &(&ObjectName, _)| (policy.created.clone(), *name));
    let mut seen = BTreeSet::new();
    let selections = policies.iter().flat_map(|(_, policy)| &policy.selections);
    let distinct = selections.filter(|(id, _)| seen.insert(id.clone())).cloned();
    (distinct.collect(), !policies.is_empty())
}

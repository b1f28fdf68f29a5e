//! The sets of addresses that the operator has written, as far as they are complete.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::{network_policy::ClusterSet, policy::SetId};

use crate::{
    network_policy::{AddressSet, AddressSets, ClusterAddresses},
    resolve::{PeerSlice, complete_set},
};

/// Sets of addresses. A set whose slices have not changed is not built again.
#[derive(Debug, Default)]
pub struct KnownSets {
    slices: BTreeMap<SetId, Vec<Arc<PeerSlice>>>,
    pub(super) sets: AddressSets,
    pub(super) cluster: Option<Arc<ClusterAddresses>>,
}

impl KnownSets {
    /// Replaces the slices by those that are known now.
    pub fn update<'a>(&mut self, slices: impl IntoIterator<Item = &'a Arc<PeerSlice>>) {
        let mut now = BTreeMap::<SetId, Vec<Arc<PeerSlice>>>::new();
        for slice in slices {
            now.entry(slice.set.clone()).or_default().push(Arc::clone(slice));
        }
        let before = std::mem::replace(&mut self.slices, now);
        for set in before.keys().filter(|set| !self.slices.contains_key(*set)) {
            self.sets.remove(set);
        }
        for (set, slices) in &self.slices {
            if before.get(set) != Some(slices) {
                match complete_set(slices.iter().map(AsRef::as_ref)) {
                    Some(networks) => self.sets.insert(set.clone(), networks.into_iter().collect()),
                    None => self.sets.remove(set),
                }
            }
        }
        let cluster = self.cluster_addresses();
        if cluster.as_ref() != self.cluster.as_deref() {
            self.cluster = cluster.map(Arc::new);
        }
    }

    /// Creates sets without slices: only the addresses of the cluster are known.
    pub fn fixed(cluster: ClusterAddresses) -> Self {
        Self {
            cluster: Some(Arc::new(cluster)),
            ..Self::default()
        }
    }

    fn cluster_addresses(&self) -> Option<ClusterAddresses> {
        let set = |set: ClusterSet| Some(AddressSet::clone(self.sets.get(&set.id())?));
        Some(ClusterAddresses {
            ranges: set(ClusterSet::Ranges)?,
            nodes: set(ClusterSet::Nodes)?,
            disputed: set(ClusterSet::Disputed)?,
        })
    }
}

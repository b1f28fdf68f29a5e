//! Whose addresses they are: entries in the tables of flows belong to the pod that had the address when they were made.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::Address;

use crate::installed::{Installed, SlotIdentity};

/// Slot and pod by address, as the tables lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(BTreeMap<Address, (u32, Option<SlotIdentity>)>);

impl Owners {
    /// From what is installed.
    pub fn new(installed: &Installed) -> Self {
        let owner = |slot| installed.pods.get(&slot).map(|label| label.identity.clone());
        let leading = installed.leading();
        Self(
            leading
                .map(|(address, slot)| (address, (slot, owner(slot))))
                .collect(),
        )
    }

    /// The slot an address leads to.
    pub fn slot(&self, address: Address) -> Option<u32> {
        self.0.get(&address).map(|(slot, _)| *slot)
    }

    /// Addresses that had an owner, `before`, and have another one or none now.
    pub fn lost_since(&self, before: &Self) -> BTreeSet<Address> {
        let lost = before
            .0
            .iter()
            .filter(|(address, owner)| self.0.get(address) != Some(owner));
        lost.map(|(address, _)| *address).collect()
    }

    /// Whether an entry for a pod's address is stale: the address leads nowhere or, where the entry says which slot it is
    /// of, elsewhere; or it is among those that were `lost`.
    pub fn is_stale(&self, pod: Address, of: Option<u32>, lost: &BTreeSet<Address>) -> bool {
        match (self.slot(pod), of) {
            (None, _) => true,
            (Some(slot), Some(of)) if slot != of => true,
            _ => lost.contains(&pod),
        }
    }
}

//! Tracks which pod owns an address. An entry of a flow table belongs to the pod that owned the address when
//! the entry was created.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::Address;

use crate::installed::{Installed, SlotIdentity};

/// Slot and pod of each address, as the installed tables have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(BTreeMap<Address, (u32, Option<SlotIdentity>)>);

impl Owners {
    /// Collects the owners from the installed tables.
    pub fn new(installed: &Installed) -> Self {
        let owner = |slot| installed.pods.get(&slot).map(|label| label.identity.clone());
        let leading = installed.leading();
        Self(
            leading
                .map(|(address, slot)| (address, (slot, owner(slot))))
                .collect(),
        )
    }

    /// Returns the slot of an address.
    pub fn slot(&self, address: Address) -> Option<u32> {
        self.0.get(&address).map(|(slot, _)| *slot)
    }

    /// Returns the addresses that had an owner `before`, and have another owner or none now.
    pub fn lost_since(&self, before: &Self) -> BTreeSet<Address> {
        let lost = before
            .0
            .iter()
            .filter(|(address, owner)| self.0.get(address) != Some(owner));
        lost.map(|(address, _)| *address).collect()
    }

    /// Returns whether a flow entry is stale: no slot has its address, another slot than `entry_slot` has it,
    /// or the address is among those that were `lost`. `entry_slot`: the slot in the entry, if the entry has
    /// one.
    pub fn is_stale(&self, address: Address, entry_slot: Option<u32>, lost: &BTreeSet<Address>) -> bool {
        match (self.slot(address), entry_slot) {
            (None, _) => true,
            (Some(slot), Some(entry_slot)) if slot != entry_slot => true,
            _ => lost.contains(&address),
        }
    }
}

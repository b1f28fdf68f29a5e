//! Whether the kernel holds what is desired for a pod: found by looking, not by asking [`crate::diff`].

use std::collections::BTreeMap;

use xdp_core::tables::{Address, Block, Entry};

use crate::{
    compile::{DesiredPod, address},
    installed::{Installed, SlotIdentity},
};

/// A reading of the tables, by pod.
pub struct InForce<'a> {
    installed: &'a Installed,
    slots: BTreeMap<&'a SlotIdentity, u32>,
    addresses: BTreeMap<u32, Vec<Address>>,
}

impl<'a> InForce<'a> {
    /// Indexes a reading.
    pub fn new(installed: &'a Installed) -> Self {
        let slots = installed
            .pods
            .iter()
            .map(|(slot, label)| (&label.identity, *slot));
        let mut addresses = BTreeMap::<_, Vec<Address>>::new();
        for (address, slot) in &installed.addresses {
            addresses.entry(*slot).or_default().push(*address);
        }
        Self {
            installed,
            slots: slots.collect(),
            addresses,
        }
    }

    /// Whether packets for the pod meet exactly its rules: its addresses, and no others, lead to its slot, which has its
    /// device and a block with its entries, each under its own rule.
    pub fn holds(&self, pod: &DesiredPod) -> bool {
        let Some(slot) = self.slots.get(&pod.identity) else {
            return false;
        };
        let installed = self.installed;
        let block = installed
            .words
            .get(slot)
            .and_then(|word| word.block())
            .and_then(|index| installed.blocks.get(&index));
        installed.devices.get(slot) == Some(&pod.identity.ifindex)
            && self.leads(*slot, pod)
            && block.is_some_and(|block| self.is_list_of(block, pod))
    }

    fn leads(&self, slot: u32, pod: &DesiredPod) -> bool {
        let mut wanted: Vec<Address> = pod.addresses.iter().copied().map(address).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.addresses.get(&slot).map_or(&[][..], Vec::as_slice) == wanted
    }

    fn is_list_of(&self, block: &Block, pod: &DesiredPod) -> bool {
        let entries = block.entries.get(..block.len as usize).unwrap_or_default();
        let same = |(entry, desired): (&Entry, &crate::compile::DesiredEntry)| {
            let plain = Entry { rule: 0, ..*entry };
            plain
                == Entry {
                    rule: 0,
                    ..desired.entry
                }
                && self.installed.rules.get(&entry.rule) == Some(&*desired.rule)
        };
        entries.len() == pod.entries.len()
            && (block.mtu, block.mac) == (pod.mtu, pod.identity.mac)
            && entries.iter().zip(&pod.entries).all(same)
    }
}

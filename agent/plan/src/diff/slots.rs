//! Allocates slots.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::{MAX_SLOTS, SlotWord};

use crate::installed::{Installed, SlotIdentity};

pub(super) struct Slots<'a> {
    known: BTreeMap<&'a SlotIdentity, u32>,
    used: BTreeSet<u32>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(installed: &'a Installed) -> Self {
        // Of two slots with one label, the first one is used.
        let usable = installed.pods.iter().filter(|(slot, _)| **slot < MAX_SLOTS);
        Self {
            known: usable
                .rev()
                .map(|(slot, label)| (&label.identity, *slot))
                .collect(),
            used: used(installed),
        }
    }

    /// Returns the slot of a pod: its installed slot, or a free one. `None`: no slot is free.
    pub(super) fn find(&mut self, identity: &'a SlotIdentity) -> Option<u32> {
        if let Some(slot) = self.known.get(identity) {
            return Some(*slot);
        }
        let slot = (0..MAX_SLOTS).find(|slot| !self.used.contains(slot))?;
        self.used.insert(slot);
        self.known.insert(identity, slot);
        Some(slot)
    }
}

/// Returns the slots that any table refers to.
fn used(installed: &Installed) -> BTreeSet<u32> {
    let words = installed.words.iter();
    let words = words
        .filter(|(_, word)| **word != SlotWord::EMPTY)
        .map(|(slot, _)| *slot);
    let places = installed.index.values();
    let places = places.filter_map(|word| word.slot(word.address()?));
    words
        .chain(installed.devices.keys().copied())
        .chain(installed.pods.keys().copied())
        .chain(installed.addresses.values().copied())
        .chain(places)
        .collect()
}

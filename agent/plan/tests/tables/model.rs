//! The kernel's tables in memory, refusing every change that is out of order.

#[path = "model/memory.rs"]
mod memory;
#[path = "model/steps.rs"]
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::{
    tables::{ActionRecord, Address, Class, IndexWord, PodBlock, Ports, SlotWord, SourcesV4, SourcesV6},
    verdict::Tables,
};
use xdp_plan::{
    change::Change,
    installed::{Blocks, Installed},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// As it would be read back.
    pub(crate) installed: Installed,
    /// All arrays, with what is left there from before.
    pub(crate) memory: Blocks,
    /// Rules that blocks in force name.
    used_rules: BTreeSet<u32>,
    /// What running programs may still see, from before the last fence.
    retired: Vec<Blocks>,
    retired_slots: BTreeSet<u32>,
    /// Places of the index that changed since the last fence.
    changed_places: BTreeSet<u32>,
    unfenced: bool,
    /// An element of the hash was replaced since the last fence.
    unfenced_moves: bool,
    /// Where addresses led, after every step.
    history: Vec<BTreeMap<Address, u32>>,
}

impl Model {
    pub(crate) fn new(installed: Installed, memory: Blocks) -> Self {
        let mut model = Self {
            installed,
            memory,
            ..Self::default()
        };
        model.read_back();
        model
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        let before: BTreeMap<Address, u32> = self.installed.leading().collect();
        for change in changes {
            self.step(change);
        }
        assert!(!self.unfenced, "a fence is missing: {changes:?}");
        let after: BTreeMap<Address, u32> = self.installed.leading().collect();
        for (address, slot) in &before {
            if after.get(address) == Some(slot) {
                let stays = |led: &BTreeMap<Address, u32>| led.get(address) == Some(slot);
                assert!(self.history.iter().all(stays), "{address:?} was lost on the way");
            }
        }
        self.history.clear();
        self.read_back();
    }

    fn read_back(&mut self) {
        let blocks = Blocks::read(&self.installed.words, &*self);
        self.used_rules = blocks.actions.iter().map(|(_, record)| record.rule).collect();
        self.installed.blocks = blocks;
    }
}

impl Tables for Model {
    fn index(&self, position: u32) -> Option<IndexWord> {
        Some(self.installed.index.get(&position).copied().unwrap_or_default())
    }

    fn slot(&self, destination: &Address) -> Option<u32> {
        self.installed.addresses.get(destination).copied()
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        self.installed.words.get(&slot).copied()
    }

    fn alive(&self, slot: u32) -> bool {
        self.installed.devices.contains_key(&slot)
    }

    fn pod(&self, index: u32) -> Option<&PodBlock> {
        self.memory.pods.get(index)
    }

    fn sources_v4(&self, index: u32) -> Option<&SourcesV4> {
        self.memory.sources_v4.get(index)
    }

    fn sources_v6(&self, index: u32) -> Option<&SourcesV6> {
        self.memory.sources_v6.get(index)
    }

    fn class(&self, index: u32) -> Option<&Class> {
        self.memory.classes.get(index)
    }

    fn ports(&self, index: u32) -> Option<&Ports> {
        self.memory.ports.get(index)
    }

    fn action(&self, number: u16) -> Option<&ActionRecord> {
        self.memory.actions.get(u32::from(number))
    }
}

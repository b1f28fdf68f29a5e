//! A model of the kernel's tables in memory. It panics on every change that is out of order.

mod attachments;
mod blocks;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::{
    frames::StationTables,
    tables::{
        ActionRecord, Address, Class, IndexWord, NicEntry, PodBlock, Ports, Receiver, SlotWord, SourcesV4,
        SourcesV6, Station, nic_position,
    },
    verdict::RuleTables,
};

use crate::{
    change::Change,
    hook::AttachPoint,
    installed::{Blocks, Installed},
};

/// The tables of one node: applies changes, and looks addresses and rules up like the programs do.
#[derive(Clone, Debug, Default)]
pub struct TableModel {
    /// The tables, as the agent reads them back.
    pub installed: Installed,
    /// All arrays, including stale blocks that no slot refers to.
    pub memory: Blocks,
    /// Rules that live blocks refer to.
    used_rules: BTreeSet<u32>,
    /// Blocks that running programs may still read: they were replaced after the last fence.
    retired: Vec<Blocks>,
    retired_slots: BTreeSet<u32>,
    /// Positions of the index that changed after the last fence.
    changed_positions: BTreeSet<u32>,
    unfenced: bool,
    /// Whether shares may overlap that another program has changed.
    is_damaged: bool,
    /// An element of the hash was replaced after the last fence.
    unfenced_moves: bool,
    /// NICs with a program that passes everything, see [`Change::Probe`].
    probes: BTreeSet<AttachPoint>,
    /// The slot of each address, after every change.
    history: Vec<BTreeMap<Address, u32>>,
}

impl TableModel {
    /// Builds a model that holds these tables and arrays.
    pub fn new(installed: Installed, memory: Blocks) -> Self {
        let mut model = Self {
            installed,
            memory,
            is_damaged: true,
            ..Self::default()
        };
        model.read_back();
        model
    }

    /// Applies all changes of one reconcile, and reads the tables back.
    ///
    /// # Panics
    ///
    /// When a change is out of order, when a fence is missing, or when an address leads nowhere in between
    /// although it leads to one slot before and after.
    pub fn apply(&mut self, changes: &[Change]) {
        let before: BTreeMap<Address, u32> = self.installed.leading().collect();
        for change in changes {
            self.step(change);
        }
        assert!(!self.unfenced, "a fence is missing: {changes:?}");
        let after: BTreeMap<Address, u32> = self.installed.leading().collect();
        for (address, slot) in &before {
            if after.get(address) == Some(slot) {
                let stays = |slots: &BTreeMap<Address, u32>| slots.get(address) == Some(slot);
                assert!(self.history.iter().all(stays), "{address:?} was lost in between");
            }
        }
        self.history.clear();
        self.read_back();
    }

    /// Applies one change, and reads the tables back.
    ///
    /// # Panics
    ///
    /// When the change is out of order.
    pub fn apply_one(&mut self, change: &Change) {
        self.step(change);
        self.history.clear();
        self.read_back();
    }

    fn read_back(&mut self) {
        let blocks = Blocks::read(&self.installed.words, &*self);
        self.used_rules = blocks.actions.iter().map(|(_, record)| record.rule).collect();
        self.installed.blocks = blocks;
    }
}

impl StationTables for TableModel {
    fn nic(&self, ifindex: u32) -> Option<&NicEntry> {
        let nic = self.installed.stations.nics.get(&nic_position(ifindex));
        nic.filter(|nic| nic.ifindex == ifindex)
    }

    fn station(&self, station: &Station) -> Option<Receiver> {
        self.installed.stations.stations.get(station).copied()
    }
}

impl RuleTables for TableModel {
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

//! The kernel's tables in memory, refusing every change that is out of order.

use std::collections::BTreeSet;

use xdp_core::tables::{Address, Block, SlotWord};
use xdp_core::verdict::Tables;
use xdp_plan::change::Change;
use xdp_plan::installed::Installed;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) installed: Installed,
    /// Written, and not pointed at yet.
    written: Vec<(u32, Block)>,
    /// A running program may still see these.
    retired_blocks: BTreeSet<u32>,
    retired_slots: BTreeSet<u32>,
    unfenced: bool,
}

impl Model {
    pub(crate) fn new(installed: Installed) -> Self {
        Self {
            installed,
            ..Self::default()
        }
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.step(change);
        }
        assert!(!self.unfenced, "a fence is missing: {changes:?}");
        let removes =
            |change: &Change| !matches!(change, Change::SetRuleLabel { .. } | Change::SetPodLabel { .. });
        if changes.contains(&Change::Fence) {
            assert_eq!(changes.last(), Some(&Change::Fence));
            assert!(changes.iter().any(removes));
        }
        let Installed { words, blocks, .. } = &mut self.installed;
        let live: BTreeSet<u32> = words.values().filter_map(|word| word.block()).collect();
        blocks.retain(|index, _| live.contains(index));
        self.written.clear();
    }

    fn step(&mut self, change: &Change) {
        match change {
            Change::SetRuleLabel { rule, label } => {
                assert!(!self.rule_is_used(*rule), "rule {rule} is in use");
                assert!(self.installed.rules.insert(*rule, label.clone()).is_none());
            }
            Change::ClearRuleLabel { rule } => {
                assert!(!self.rule_is_used(*rule), "rule {rule} is in use");
                self.installed.rules.remove(rule).expect("a label");
                self.unfenced = true;
            }
            Change::SetPodLabel { slot, label, fresh } => {
                let before = self.installed.pods.insert(*slot, label.clone());
                assert_eq!(*fresh, before.is_none());
                assert!(before.is_none_or(|before| before.identity == label.identity));
                assert!(!self.retired_slots.contains(slot));
            }
            Change::SetDevice { slot, ifindex } => {
                assert!(self.installed.pods.contains_key(slot));
                self.unfenced |= self.installed.devices.insert(*slot, *ifindex).is_some();
            }
            Change::WriteBlock { index, block, .. } => {
                let live = self
                    .installed
                    .words
                    .values()
                    .any(|word| word.block() == Some(*index));
                assert!(
                    !live && !self.retired_blocks.contains(index),
                    "block {index} is in use"
                );
                self.written.push((*index, **block));
            }
            Change::SetWord { slot, word } => self.set_word(*slot, *word),
            Change::SetAddress { address, slot } => {
                assert!(self.installed.words.contains_key(slot));
                self.unfenced |= self.installed.addresses.insert(*address, *slot).is_some();
            }
            Change::Fence => {
                self.retired_blocks.clear();
                self.retired_slots.clear();
                self.unfenced = false;
            }
            Change::ClearAddress { .. } | Change::ClearDevice { .. } | Change::ClearPodLabel { .. } => {
                self.remove(change);
            }
        }
    }

    fn remove(&mut self, change: &Change) {
        self.unfenced = true;
        match change {
            Change::ClearAddress { address } => {
                self.installed.addresses.remove(address).expect("an address");
            }
            Change::ClearDevice { slot } => {
                assert!(!self.installed.words.contains_key(slot));
                self.installed.devices.remove(slot).expect("a device");
            }
            Change::ClearPodLabel { slot } => {
                assert!(
                    !self.installed.words.contains_key(slot) && !self.installed.devices.contains_key(slot)
                );
                self.installed.pods.remove(slot).expect("a label");
                self.retired_slots.insert(*slot);
            }
            other => panic!("{other:?} removes nothing"),
        }
    }

    fn set_word(&mut self, slot: u32, word: SlotWord) {
        let before = self.installed.words.remove(&slot);
        self.unfenced |= before.is_some();
        self.retired_blocks.extend(before.and_then(SlotWord::block));
        let Some(index) = word.block() else {
            assert!(
                !self.installed.addresses.values().any(|other| *other == slot),
                "slot {slot} has an address"
            );
            return;
        };
        assert!(self.installed.pods.contains_key(&slot) && self.installed.devices.contains_key(&slot));
        let (_, block) = self
            .written
            .iter()
            .find(|(written, _)| *written == index)
            .expect("a block");
        for entry in &block.entries[..block.len as usize] {
            assert!(
                self.installed.rules.contains_key(&entry.rule),
                "rule {} has no label",
                entry.rule
            );
        }
        assert_eq!(
            word.generation(),
            before.unwrap_or_default().generation().wrapping_add(1)
        );
        self.installed.blocks.insert(index, *block);
        self.installed.words.insert(slot, word);
    }

    fn rule_is_used(&self, rule: u32) -> bool {
        let live = self.installed.words.values().filter_map(|word| word.block());
        let mut blocks = live.filter_map(|index| self.installed.blocks.get(&index));
        blocks.any(|block| {
            block
                .entries
                .iter()
                .take(block.len as usize)
                .any(|entry| entry.rule == rule)
        })
    }
}

impl Tables for Model {
    fn slot(&self, destination: &Address) -> Option<u32> {
        self.installed.addresses.get(destination).copied()
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        self.installed.words.get(&slot).copied()
    }

    fn alive(&self, slot: u32) -> bool {
        self.installed.devices.contains_key(&slot)
    }

    fn block(&self, index: u32) -> Option<&Block> {
        self.installed.blocks.get(&index)
    }
}

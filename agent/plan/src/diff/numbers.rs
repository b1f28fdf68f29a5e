//! Slots, blocks and rule ids: which are taken, which stay, which are next.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::{Block, MAX_BLOCKS, MAX_RULES, MAX_SLOTS, SlotWord};

use crate::change::Change;
use crate::compile::Desired;
use crate::installed::{Installed, RuleLabel, SlotIdentity};

pub(super) struct Numbers<'a> {
    slots: BTreeMap<&'a SlotIdentity, u32>,
    used_slots: BTreeSet<u32>,
    used_blocks: BTreeSet<u32>,
    rules: BTreeMap<&'a RuleLabel, u32>,
    new_rules: BTreeMap<u32, &'a RuleLabel>,
    installed: &'a Installed,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(desired: &'a Desired, installed: &'a Installed) -> Self {
        let mut numbers = Self {
            slots: known_slots(installed),
            used_slots: used_slots(installed),
            used_blocks: installed.words.values().filter_map(|word| word.block()).collect(),
            rules: known_rules(desired, installed),
            new_rules: BTreeMap::new(),
            installed,
        };
        numbers.number_rules(desired);
        numbers
    }

    /// The slot of a pod: the one it has, or a free one. `None` if there is none.
    pub(super) fn slot(&mut self, identity: &'a SlotIdentity) -> Option<u32> {
        if let Some(slot) = self.slots.get(identity) {
            return Some(*slot);
        }
        let slot = first_free(&mut self.used_slots, MAX_SLOTS)?;
        self.slots.insert(identity, slot);
        Some(slot)
    }

    /// A free block.
    pub(super) fn block(&mut self) -> Option<u32> {
        first_free(&mut self.used_blocks, MAX_BLOCKS)
    }

    /// The id of a rule.
    pub(super) fn rule(&self, label: &RuleLabel) -> Option<u32> {
        self.rules.get(label).copied()
    }

    /// Rules that get an id.
    pub(super) fn new_labels(&self) -> Vec<Change> {
        let set = |(rule, label): (&u32, &&RuleLabel)| Change::SetRuleLabel {
            rule: *rule,
            label: (*label).clone(),
        };
        self.new_rules.iter().map(set).collect()
    }

    /// Ids whose rule is gone, or has another one.
    pub(super) fn stale_rules(&self) -> impl Iterator<Item = u32> {
        let stale = |(id, label): &(&u32, &RuleLabel)| self.rules.get(label) != Some(id);
        self.installed.rules.iter().filter(stale).map(|(id, _)| *id)
    }

    fn number_rules(&mut self, desired: &'a Desired) {
        let mut used: BTreeSet<u32> = self.installed.rules.keys().copied().collect();
        used.extend(self.installed.blocks.values().flat_map(rules_of));
        for label in &desired.rules {
            if self.rules.contains_key(label) {
                continue;
            }
            let Some(id) = first_free(&mut used, MAX_RULES) else {
                return;
            };
            self.rules.insert(label, id);
            self.new_rules.insert(id, label);
        }
    }
}

fn rules_of(block: &Block) -> impl Iterator<Item = u32> {
    block
        .entries
        .iter()
        .take(block.len as usize)
        .map(|entry| entry.rule)
}

/// Where a label is there twice, the first one counts.
fn known_slots(installed: &Installed) -> BTreeMap<&SlotIdentity, u32> {
    let usable = installed.pods.iter().filter(|(slot, _)| **slot < MAX_SLOTS);
    usable
        .rev()
        .map(|(slot, label)| (&label.identity, *slot))
        .collect()
}

fn used_slots(installed: &Installed) -> BTreeSet<u32> {
    let Installed {
        addresses,
        words,
        devices,
        pods,
        ..
    } = installed;
    let words = words
        .iter()
        .filter(|(_, word)| **word != SlotWord::EMPTY)
        .map(|(slot, _)| slot);
    let all = words
        .chain(devices.keys())
        .chain(pods.keys())
        .chain(addresses.values());
    all.copied().collect()
}

fn known_rules<'a>(desired: &Desired, installed: &'a Installed) -> BTreeMap<&'a RuleLabel, u32> {
    let kept = |(id, label): &(&u32, &RuleLabel)| **id < MAX_RULES && desired.rules.contains(*label);
    let kept = installed.rules.iter().filter(kept);
    kept.rev().map(|(id, label)| (label, *id)).collect()
}

fn first_free(used: &mut BTreeSet<u32>, end: u32) -> Option<u32> {
    let free = (0..end).find(|number| !used.contains(number))?;
    used.insert(free);
    Some(free)
}

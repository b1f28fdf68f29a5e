//! Checks whether a change is allowed in the current state, and applies it.

use std::{collections::BTreeMap, sync::Arc};

use xdp_core::tables::{Address, IndexWord, LIMIT_SETS, NicEntry, ShareWord, SlotWord, index_position};

use super::{TableModel, blocks};
use crate::{change::Change, installed::Blocks};

impl TableModel {
    pub(super) fn step(&mut self, change: &Change) {
        match change {
            Change::SetRuleLabel { rule, label } => {
                assert!(!self.rule_is_used(*rule), "rule {rule} is in use");
                assert!(
                    Arc::make_mut(&mut self.installed.rules)
                        .insert(*rule, Arc::clone(label))
                        .is_none()
                );
            }
            Change::SetAnswering { namespaces } => self.installed.answering = *namespaces,
            Change::SetShare { namespace, share } => self.set_share(*namespace, *share),
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
            Change::Write { index, content } => {
                for readable in self.retired.iter().chain([&self.installed.blocks]) {
                    assert!(
                        !blocks::contains(readable, *index, content),
                        "{index} is in use: {content:?}"
                    );
                }
                blocks::write(&mut self.memory, *index, content);
            }
            Change::SetWord { slot, word } => self.set_word(*slot, *word),
            Change::SetIndex { position, word } => self.set_index(*position, *word),
            Change::SetAddress { address, slot } => {
                assert!(self.installed.words.contains_key(slot));
                let replaced = self.installed.addresses.insert(*address, *slot).is_some();
                assert!(
                    !(replaced && self.unfenced_moves),
                    "a fence is missing between moves"
                );
                self.unfenced_moves |= replaced;
                self.unfenced |= replaced;
            }
            Change::Fence => {
                self.retired.clear();
                self.retired_slots.clear();
                self.changed_positions.clear();
                self.unfenced = false;
                self.unfenced_moves = false;
            }
            Change::SetNic { position, nic } => {
                let nics = &mut self.installed.stations.nics;
                if *nic == NicEntry::default() {
                    nics.remove(position).expect("a NIC");
                } else {
                    nics.insert(*position, *nic);
                }
            }
            Change::SetStation { station, receiver } => {
                self.installed.stations.stations.insert(*station, *receiver);
            }
            Change::ClearStation { station } => {
                let stations = &mut self.installed.stations.stations;
                stations.remove(station).expect("a station");
            }
            Change::Attach { .. }
            | Change::Replace { .. }
            | Change::MoveFirst { .. }
            | Change::Detach { .. }
            | Change::Probe { .. }
            | Change::SetGro { .. }
            | Change::ForgetGro { .. }
            | Change::NoteConnections { .. }
            | Change::MigrateFlows
            | Change::PurgeFlows
            | Change::EndMigration => self.attach(change),
            Change::ClearRuleLabel { .. }
            | Change::ClearAddress { .. }
            | Change::ClearDevice { .. }
            | Change::ClearPodLabel { .. } => self.remove(change),
        }
        if matches!(
            change,
            Change::SetIndex { .. } | Change::SetAddress { .. } | Change::ClearAddress { .. }
        ) {
            self.history.push(self.installed.leading().collect());
        }
    }

    fn remove(&mut self, change: &Change) {
        self.unfenced = true;
        match change {
            Change::ClearRuleLabel { rule } => {
                assert!(!self.rule_is_used(*rule), "rule {rule} is in use");
                Arc::make_mut(&mut self.installed.rules)
                    .remove(rule)
                    .expect("a label");
            }
            Change::ClearAddress { address } => {
                self.installed.addresses.remove(address).expect("an address");
                let v4 = address.low as u32;
                let position = index_position(v4);
                let word = self.installed.index.get(&position).copied().unwrap_or_default();
                assert!(
                    !address.is_v4()
                        || word.slot(v4).is_none()
                        || !self.changed_positions.contains(&position),
                    "a program that has read position {position} already still looks up {address:?} in the hash"
                );
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
            Change::SetRuleLabel { .. }
            | Change::SetAnswering { .. }
            | Change::SetShare { .. }
            | Change::SetPodLabel { .. }
            | Change::SetDevice { .. }
            | Change::Write { .. }
            | Change::SetWord { .. }
            | Change::SetIndex { .. }
            | Change::SetAddress { .. }
            | Change::SetNic { .. }
            | Change::SetStation { .. }
            | Change::ClearStation { .. }
            | Change::Fence
            | Change::Attach { .. }
            | Change::Replace { .. }
            | Change::MoveFirst { .. }
            | Change::Detach { .. }
            | Change::Probe { .. }
            | Change::SetGro { .. }
            | Change::ForgetGro { .. }
            | Change::NoteConnections { .. }
            | Change::MigrateFlows
            | Change::PurgeFlows
            | Change::EndMigration => panic!("{change:?} removes no entry"),
        }
    }

    fn set_share(&mut self, namespace: u16, share: ShareWord) {
        let sets = |share: &ShareWord| share.first()..share.first() + share.sets();
        self.installed.shares.remove(&namespace);
        if share == ShareWord::EMPTY {
            return;
        }
        let new = sets(&share);
        assert!(share.sets().is_power_of_two() && share.first().is_multiple_of(share.sets()));
        assert!(share.tag() != 0 && u32::from(new.end) <= LIMIT_SETS);
        for other in self.installed.shares.values().filter(|_| !self.is_damaged) {
            let old = sets(other);
            assert!(
                old.end <= new.start || new.end <= old.start,
                "{share:?} overlaps {other:?}"
            );
            assert_ne!(share.tag(), other.tag());
        }
        self.installed.shares.insert(namespace, share);
    }

    fn set_index(&mut self, position: u32, word: IndexWord) {
        if let Some(v4) = word.address() {
            assert_eq!(index_position(v4), position);
            let slot = word.slot(v4).expect("a slot");
            assert!(self.installed.words.contains_key(&slot));
        }
        let before = if word == IndexWord::EMPTY {
            self.installed.index.remove(&position)
        } else {
            self.installed.index.insert(position, word)
        };
        self.changed_positions.insert(position);
        self.unfenced |= before.is_some();
    }

    fn set_word(&mut self, slot: u32, word: SlotWord) {
        let before = self.installed.words.remove(&slot);
        if let Some(before) = before {
            self.unfenced = true;
            let old = BTreeMap::from([(slot, before)]);
            self.retired.push(Blocks::read(&old, &*self));
        }
        let Some(index) = word.block() else {
            let leads = |(address, other): (Address, u32)| (other == slot).then_some(address);
            assert_eq!(
                self.installed.leading().find_map(leads),
                None,
                "slot {slot} has an address"
            );
            self.read_back();
            return;
        };
        assert!(self.installed.pods.contains_key(&slot) && self.installed.devices.contains_key(&slot));
        blocks::check(&self.memory, &self.installed, index);
        assert_eq!(
            word.generation(),
            before.unwrap_or_default().generation().wrapping_add(1)
        );
        self.installed.words.insert(slot, word);
        self.read_back();
    }

    fn rule_is_used(&self, rule: u32) -> bool {
        self.used_rules.contains(&rule)
    }
}

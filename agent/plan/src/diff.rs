//! From what is installed to what is desired, step by step.

mod numbers;

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::{Address, Block, Entry, MAX_ENTRIES, SlotWord};

use crate::change::Change;
use crate::compile::{Desired, DesiredPod, address};
use crate::installed::{Installed, PodLabel};
use numbers::Numbers;

/// The changes that lead from `installed` to `desired`, in an order that is safe at every step: additions first,
/// removals last, then [`Change::Fence`] if anything was removed or replaced; an address that moves from one pod to
/// another has a fence of its own. Empty when nothing is to be done.
///
/// Numbers in use stay: slots, blocks and rule ids are found again by their labels, blocks are compared by content, so
/// a restarted agent writes nothing. What is in use is never written to; where numbers run out because removals of the
/// same round still hold them, the next round completes the work: call this until it returns nothing.
///
/// Whatever in `installed` belongs to nobody (words without a label, addresses that lead nowhere) is removed.
pub fn diff(desired: &Desired, installed: &Installed) -> Vec<Change> {
    let mut plan = Plan {
        installed,
        numbers: Numbers::new(desired, installed),
        labels: Vec::new(),
        devices: Vec::new(),
        blocks: Vec::new(),
        addresses: Vec::new(),
        moves: Vec::new(),
        placed: BTreeSet::new(),
        wanted: BTreeMap::new(),
        replaced: false,
    };
    for pod in &desired.pods {
        plan.place(pod);
    }
    plan.finish()
}

struct Plan<'a> {
    installed: &'a Installed,
    numbers: Numbers<'a>,
    labels: Vec<Change>,
    devices: Vec<Change>,
    blocks: Vec<Change>,
    addresses: Vec<Change>,
    moves: Vec<Change>,
    /// Slots that stay or become used.
    placed: BTreeSet<u32>,
    /// Where addresses should lead.
    wanted: BTreeMap<Address, u32>,
    replaced: bool,
}

impl<'a> Plan<'a> {
    fn place(&mut self, pod: &'a DesiredPod) {
        let Some(slot) = self.numbers.slot(&pod.identity) else {
            return;
        };
        if !self.point_at_block(slot, pod) && !self.installed.words.contains_key(&slot) {
            return;
        }
        self.placed.insert(slot);
        self.label(slot, pod);
        self.device(slot, pod);
        for address in pod.addresses.iter().copied().map(address) {
            self.wanted.insert(address, slot);
            let before = self.installed.addresses.get(&address);
            match before {
                None => self.addresses.push(Change::SetAddress { address, slot }),
                Some(before) if *before == slot => {}
                Some(_) => self.moves.push(Change::SetAddress { address, slot }),
            }
        }
    }

    fn label(&mut self, slot: u32, pod: &DesiredPod) {
        let label = PodLabel {
            identity: pod.identity.clone(),
            interface: pod.interface.clone(),
            addresses: pod.addresses.clone(),
            readiness: pod.readiness.clone(),
        };
        let before = self.installed.pods.get(&slot);
        if before != Some(&label) {
            let fresh = before.is_none_or(|before| before.identity != label.identity);
            self.labels.push(Change::SetPodLabel { slot, label, fresh });
        }
    }

    fn device(&mut self, slot: u32, pod: &DesiredPod) {
        let ifindex = pod.identity.ifindex;
        let before = self.installed.devices.get(&slot);
        if before != Some(&ifindex) {
            self.replaced |= before.is_some();
            self.devices.push(Change::SetDevice { slot, ifindex });
        }
    }

    /// Whether the slot has the pod's list afterwards.
    fn point_at_block(&mut self, slot: u32, pod: &DesiredPod) -> bool {
        let Some(block) = self.block(pod) else {
            return false;
        };
        let word = self.installed.words.get(&slot).copied().unwrap_or_default();
        let current = word.block().and_then(|index| self.installed.blocks.get(&index));
        if current == Some(&*block) {
            return true;
        }
        let Some(index) = self.numbers.block() else {
            return false;
        };
        self.replaced |= word != SlotWord::EMPTY;
        self.blocks.push(Change::WriteBlock { slot, index, block });
        let word = SlotWord::new(word.generation().wrapping_add(1), index);
        self.blocks.push(Change::SetWord { slot, word });
        true
    }

    /// `None`: a rule has no id yet.
    fn block(&self, pod: &DesiredPod) -> Option<Box<Block>> {
        let mut entries = [Entry::default(); MAX_ENTRIES];
        for (place, entry) in entries.iter_mut().zip(&pod.entries) {
            let rule = self.numbers.rule(&entry.rule)?;
            *place = Entry { rule, ..entry.entry };
        }
        Some(Box::new(Block {
            len: pod.entries.len().min(MAX_ENTRIES) as u32,
            mtu: pod.mtu,
            mac: pod.identity.mac,
            reserved: [0; 2],
            entries,
        }))
    }

    fn finish(self) -> Vec<Change> {
        let removals = self.removals();
        let mut changes = self.numbers.new_labels();
        changes.extend(self.labels);
        changes.extend(self.devices);
        changes.extend(self.blocks);
        changes.extend(self.addresses);
        // A replaced element of a kernel hash is used again by the next replacement, while a program may still hold it
        // (kernel/bpf/hashtab.c, preallocated maps): it would read another pod's slot.
        changes.extend(self.moves.into_iter().flat_map(|step| [step, Change::Fence]));
        let fence = self.replaced || !removals.is_empty();
        changes.extend(removals);
        if fence {
            changes.push(Change::Fence);
        }
        changes
    }

    fn removals(&self) -> Vec<Change> {
        let Installed {
            addresses,
            words,
            devices,
            pods,
            ..
        } = self.installed;
        let gone = |slot: &&u32| !self.placed.contains(slot);
        let lost = addresses
            .keys()
            .filter(|address| !self.wanted.contains_key(address));
        let mut changes: Vec<Change> = lost
            .map(|address| Change::ClearAddress { address: *address })
            .collect();
        changes.extend(words.keys().filter(gone).map(|slot| Change::SetWord {
            slot: *slot,
            word: SlotWord::EMPTY,
        }));
        changes.extend(
            devices
                .keys()
                .filter(gone)
                .map(|slot| Change::ClearDevice { slot: *slot }),
        );
        changes.extend(
            pods.keys()
                .filter(gone)
                .map(|slot| Change::ClearPodLabel { slot: *slot }),
        );
        changes.extend(
            self.numbers
                .stale_rules()
                .map(|rule| Change::ClearRuleLabel { rule }),
        );
        changes
    }
}

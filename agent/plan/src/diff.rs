//! Compares desired and installed state, and returns the changes in a safe order.

mod addresses;
mod attachments;
mod differ;
mod link;
mod namespaces;
mod ranges;
mod rules;
mod slots;
mod stations;
mod store;
mod trees;

use std::collections::{BTreeMap, BTreeSet};

use attachments::AttachmentDiff;
pub use differ::Differ;
use differ::Found;
use link::Linker;
use namespaces::Namespaces;
use rules::Rules;
use slots::Slots;
pub(crate) use trees::Trees;
use trees::{RuleNumbers, key};
use xdp_core::tables::{ActionRecord, PodBlock, SlotWord};

use crate::{
    change::Change,
    compile::address,
    desired::{Desired, DesiredPod},
    installed::{Installed, PodLabel},
    programmed::{head, holds, is_head_of},
};

/// Returns the changes that lead from `installed` to `desired`.
///
/// The order is safe at every step: additions first, removals last, then [`Change::Fence`] if anything was
/// removed or replaced, and last what that has set free for other namespaces. An address that moves from one
/// pod to another within the hash, or from the hash to the index, has a fence of its own. The list is empty
/// when both states are equal.
///
/// Installed numbers stay: slots and rule ids are found by their labels, blocks by content. So a restarted
/// agent writes nothing, and equal blocks are stored once. Blocks in use are never written to.
///
/// Numbers can run out while blocks that are to be removed still hold them. The next pass then continues:
/// call this until it returns nothing. If installed and new blocks do not fit together, a pod loses its rules
/// in one pass (its packets pass to the stack), and gets its new rules in the next.
///
/// Stale entries of `installed` are removed: words without a label, and addresses without a slot.
pub fn diff(desired: &Desired, installed: &Installed) -> Vec<Change> {
    compare(desired, installed, &Found::default()).0
}

/// Compares all. `before`: results of an earlier comparison with the same blocks and labels.
fn compare(desired: &Desired, installed: &Installed, before: &Found) -> (Vec<Change>, Found) {
    let (tables, found) = compare_tables(desired, installed, before);
    let tables = stations::around(tables, desired.stations.as_ref(), &installed.stations);
    let attachments = AttachmentDiff {
        desired: &desired.attachments,
        pods: &desired.pods,
        labels: &installed.pods,
        installed: &installed.attachments,
    };
    (attachments.around(tables), found)
}

fn compare_tables(desired: &Desired, installed: &Installed, before: &Found) -> (Vec<Change>, Found) {
    let diff = |gives_up| TableDiff::new(desired, installed, before, gives_up).run(desired);
    let (changes, found, is_complete) = diff(false);
    if changes.is_empty() && !is_complete {
        let (changes, found, _) = diff(true);
        return (changes, found);
    }
    (changes, found)
}

struct TableDiff<'a> {
    installed: &'a Installed,
    before: &'a Found,
    slots: Slots<'a>,
    rules: Rules<'a>,
    namespaces: Namespaces<'a>,
    linker: Linker<'a>,
    /// Whether pods that do not get their new rules lose their old ones.
    gives_up: bool,
    labels: Vec<Change>,
    devices: Vec<Change>,
    words: Vec<Change>,
    /// Slots that stay in use or come into use.
    placed: BTreeSet<u32>,
    /// Desired slots of addresses.
    wanted: addresses::Wanted,
    /// Whether compiled rules equal installed trees, by the rules' and the trees' keys.
    unchanged: BTreeMap<(usize, u32, u32), bool>,
    trees: Trees,
    replaced: bool,
    /// Whether all pods get their desired rules.
    is_complete: bool,
}

impl<'a> TableDiff<'a> {
    fn new(desired: &'a Desired, installed: &'a Installed, before: &'a Found, gives_up: bool) -> Self {
        Self {
            installed,
            before,
            slots: Slots::new(installed),
            rules: Rules::new(desired, installed, before.rule_ids.as_ref()),
            namespaces: Namespaces::new(installed),
            linker: Linker::new(&installed.blocks),
            gives_up,
            labels: Vec::new(),
            devices: Vec::new(),
            words: Vec::new(),
            placed: BTreeSet::new(),
            wanted: BTreeMap::new(),
            unchanged: BTreeMap::new(),
            trees: Trees::default(),
            replaced: false,
            is_complete: true,
        }
    }

    fn run(mut self, desired: &'a Desired) -> (Vec<Change>, Found, bool) {
        for pod in &desired.pods {
            self.place(pod);
        }
        self.rules.number_others();
        let found = Found {
            trees: std::mem::take(&mut self.trees),
            rule_ids: self.rules.rule_ids(),
        };
        let is_complete = self.is_complete;
        (self.finish(), found, is_complete)
    }

    fn place(&mut self, pod: &'a DesiredPod) {
        let Some(slot) = self.slots.find(&pod.identity) else {
            self.is_complete = false;
            return;
        };
        if !self.point_at_rules(slot, pod) {
            self.is_complete = false;
            if self.gives_up || !self.installed.words.contains_key(&slot) {
                return;
            }
        }
        self.placed.insert(slot);
        self.label(slot, pod);
        self.device(slot, pod);
        let addresses = pod.addresses.iter().copied().map(address);
        self.wanted.extend(addresses.map(|address| (address, slot)));
    }

    fn label(&mut self, slot: u32, pod: &DesiredPod) {
        let label = PodLabel {
            identity: pod.identity.clone(),
            interface: pod.interface.clone(),
            addresses: pod.addresses.clone(),
            readiness: pod.readiness.clone(),
            peer: pod.peer.obstacle(),
            reply_path: pod.reply_path.clone(),
            draining: pod.draining,
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

    /// Points the slot at the pod's rules. Returns false when there is no room for them.
    fn point_at_rules(&mut self, slot: u32, pod: &'a DesiredPod) -> bool {
        let Some(numbers) = self.numbers(pod) else {
            return false;
        };
        let word = self.installed.words.get(&slot).copied().unwrap_or_default();
        let current = word
            .block()
            .and_then(|index| self.installed.blocks.pods.get(index));
        if current.is_some_and(|block| self.is_unchanged(block, pod, &numbers)) {
            return true;
        }
        let Some(index) = self.linker.link(head(pod), &pod.rules, &numbers) else {
            return false;
        };
        self.replaced |= word != SlotWord::EMPTY;
        let word = SlotWord::new(word.generation().wrapping_add(1), index);
        self.words.push(Change::SetWord { slot, word });
        true
    }

    /// Returns the numbers of the pod's rules. `None`: not enough are free.
    fn numbers(&mut self, pod: &'a DesiredPod) -> Option<RuleNumbers> {
        Some(RuleNumbers {
            ids: self.rules.ids(&pod.rules)?,
            namespace: self.namespaces.number(&pod.identity.namespace, &pod.rules)?,
        })
    }

    fn is_unchanged(&mut self, block: &PodBlock, pod: &DesiredPod, numbers: &RuleNumbers) -> bool {
        if !is_head_of(block, pod) {
            return false;
        }
        let (blocks, before) = (&self.installed.blocks, &self.before.trees);
        let look = || {
            let has_numbers = |rule: usize, record: &ActionRecord| {
                *record == numbers.number(rule, &pod.rules.actions[rule])
            };
            before.have_with(block, &pod.rules, numbers) || holds(blocks, block, &pod.rules, has_numbers)
        };
        let unchanged = *self.unchanged.entry(key(block, &pod.rules)).or_insert_with(look);
        if unchanged {
            self.trees.add(block, &pod.rules, numbers);
        }
        unchanged
    }

    fn finish(mut self) -> Vec<Change> {
        let addresses = addresses::changes(&self.wanted, self.installed);
        self.replaced |= addresses.replaced;
        let removals = self.removals();
        let fence = self.replaced || !removals.is_empty() || !addresses.removals.is_empty();
        let (before, after) = self.namespaces.changes(self.is_complete);
        let mut changes = before;
        changes.extend(self.rules.new_labels());
        changes.extend(self.labels);
        changes.extend(self.devices);
        changes.extend(self.linker.writes());
        changes.extend(self.words);
        changes.extend(addresses.additions);
        changes.extend(addresses.removals);
        changes.extend(removals);
        if fence {
            changes.push(Change::Fence);
        }
        changes.extend(after);
        changes
    }

    fn removals(&self) -> Vec<Change> {
        let Installed {
            words, devices, pods, ..
        } = self.installed;
        let gone = |slot: &&u32| !self.placed.contains(slot);
        let empty = |slot: &u32| Change::SetWord {
            slot: *slot,
            word: SlotWord::EMPTY,
        };
        let mut changes: Vec<Change> = words.keys().filter(gone).map(empty).collect();
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
        let stale = self.rules.stale(self.is_complete);
        changes.extend(stale.into_iter().map(|rule| Change::ClearRuleLabel { rule }));
        changes
    }
}

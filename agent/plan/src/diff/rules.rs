//! Allocates rule ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_core::tables::MAX_RULES;

use super::trees::address;
use crate::{
    change::Change,
    compile::Compiled,
    desired::Desired,
    installed::{Installed, RuleLabel},
};

/// The ids of rules in one diff.
pub(super) struct Rules<'a> {
    desired: &'a Desired,
    installed: &'a Installed,
    rule_ids: Option<&'a Arc<RuleIds>>,
    /// Ids of compiled rules that were requested so far.
    ids: BTreeMap<*const Compiled, Option<Arc<[u32]>>>,
    /// Computed on first use. Most diffs do not need it.
    numbering: Option<Numbering<'a>>,
}

/// Ids by the addresses of labels in memory. Every desired rule has an id, and no other rule has one.
#[derive(Debug)]
pub(super) struct RuleIds(Vec<(usize, u32)>);

impl<'a> Rules<'a> {
    /// Starts a diff. `rule_ids`: the result for the same desired and installed labels.
    pub(super) const fn new(
        desired: &'a Desired,
        installed: &'a Installed,
        rule_ids: Option<&'a Arc<RuleIds>>,
    ) -> Self {
        Self {
            desired,
            installed,
            rule_ids,
            ids: BTreeMap::new(),
            numbering: None,
        }
    }

    /// Returns the ids of a pod's rules. `None`: there are not enough free ids.
    pub(super) fn ids(&mut self, compiled: &Arc<Compiled>) -> Option<Arc<[u32]>> {
        let key = Arc::as_ptr(compiled);
        if let Some(ids) = self.ids.get(&key) {
            return ids.clone();
        }
        let rule_ids = self.rule_ids.and_then(|rule_ids| rule_ids.ids(compiled));
        let ids = rule_ids.or_else(|| self.numbering().ids(compiled));
        self.ids.insert(key, ids.clone());
        ids
    }

    /// Assigns ids to rules that no pod uses, while ids are free.
    pub(super) fn number_others(&mut self) {
        if self.rule_ids.is_none() {
            self.numbering().number_others();
        }
    }

    /// Returns the changes that assign new ids.
    pub(super) fn new_labels(&self) -> Vec<Change> {
        self.numbering
            .as_ref()
            .map_or_else(Vec::new, Numbering::new_labels)
    }

    /// Returns the ids to clear: their rule is absent, or has another id. Unless `all`, ids that installed
    /// blocks use stay.
    pub(super) fn stale(&self, all: bool) -> Vec<u32> {
        let numbering = self.numbering.as_ref();
        numbering.map_or_else(Vec::new, |numbering| numbering.stale(all))
    }

    /// Returns the ids for the next comparison with the same labels.
    pub(super) fn rule_ids(&self) -> Option<Arc<RuleIds>> {
        if let Some(rule_ids) = self.rule_ids {
            return Some(Arc::clone(rule_ids));
        }
        let numbering = self.numbering.as_ref()?;
        if !numbering.new.is_empty() || !numbering.stale(true).is_empty() {
            return None;
        }
        let ids = numbering.wanted.iter();
        let ids: Option<Vec<_>> = ids.map(|(label, id)| Some((address(label), (*id)?))).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        Some(Arc::new(RuleIds(ids)))
    }

    fn numbering(&mut self) -> &mut Numbering<'a> {
        let Self {
            desired, installed, ..
        } = *self;
        self.numbering
            .get_or_insert_with(|| Numbering::new(desired, installed))
    }
}

impl RuleIds {
    /// Returns the ids of compiled rules. `None`: some labels are other objects, although they may be equal.
    fn ids(&self, compiled: &Compiled) -> Option<Arc<[u32]>> {
        let id = |label: &Arc<RuleLabel>| {
            let found = self
                .0
                .binary_search_by_key(&address(label), |(position, _)| *position);
            found.ok().map(|found| self.0[found].1)
        };
        compiled.rules.iter().map(id).collect()
    }
}

/// Finds installed ids, and assigns new ones.
struct Numbering<'a> {
    installed: &'a Installed,
    /// The desired rules in order, with their ids, if they have one.
    wanted: Vec<(&'a Arc<RuleLabel>, Option<u32>)>,
    /// Positions in `wanted` by the addresses of labels in memory, which finds most labels.
    positions: Vec<(*const RuleLabel, usize)>,
    /// Whether an id is used by a label or a record.
    used: Vec<bool>,
    /// All ids below this one are used.
    next: usize,
    /// New ids, in order.
    new: Vec<(u32, &'a Arc<RuleLabel>)>,
}

impl<'a> Numbering<'a> {
    fn new(desired: &'a Desired, installed: &'a Installed) -> Self {
        let rules = desired.rules.iter();
        let mut positions: Vec<_> = rules.clone().map(Arc::as_ptr).zip(0..).collect();
        positions.sort_unstable();
        Self {
            installed,
            wanted: matched(rules, installed),
            positions,
            used: used(installed),
            next: 0,
            new: Vec::new(),
        }
    }

    fn ids(&mut self, compiled: &Compiled) -> Option<Arc<[u32]>> {
        let positions: Option<Vec<usize>> = compiled.rules.iter().map(|label| self.position(label)).collect();
        let positions = positions?;
        let lacking: BTreeSet<usize> = positions
            .iter()
            .copied()
            .filter(|position| self.wanted[*position].1.is_none())
            .collect();
        if !self.has_free(lacking.len()) {
            return None;
        }
        for position in lacking {
            self.number(position);
        }
        positions
            .iter()
            .map(|position| self.wanted[*position].1)
            .collect()
    }

    fn number_others(&mut self) {
        for position in 0..self.wanted.len() {
            if self.wanted[position].1.is_none() {
                self.number(position);
            }
        }
    }

    fn new_labels(&self) -> Vec<Change> {
        let set = |(rule, label): &(u32, &Arc<RuleLabel>)| Change::SetRuleLabel {
            rule: *rule,
            label: Arc::clone(label),
        };
        self.new.iter().map(set).collect()
    }

    fn stale(&self, all: bool) -> Vec<u32> {
        let actions = self.installed.blocks.actions.iter();
        let busy = actions.filter(|_| !all).map(|(_, record)| record.rule);
        let kept = self.wanted.iter().filter_map(|(_, id)| *id);
        let mut stays = vec![false; MAX_RULES as usize];
        for id in kept.chain(busy) {
            if let Some(stays) = stays.get_mut(id as usize) {
                *stays = true;
            }
        }
        let ids = self.installed.rules.keys().copied();
        ids.filter(|id| stays.get(*id as usize) != Some(&true)).collect()
    }

    fn position(&self, label: &Arc<RuleLabel>) -> Option<usize> {
        let pointer = Arc::as_ptr(label);
        match self
            .positions
            .binary_search_by_key(&pointer, |(pointer, _)| *pointer)
        {
            Ok(found) => Some(self.positions[found].1),
            Err(_) => self.wanted.binary_search_by_key(&label, |(label, _)| *label).ok(),
        }
    }

    fn has_free(&self, count: usize) -> bool {
        let free = self.used[self.next..].iter().filter(|used| !**used);
        free.take(count).count() == count
    }

    fn number(&mut self, position: usize) {
        let free = self.used[self.next..].iter().position(|used| !used);
        let Some(id) = free.map(|free| self.next + free) else {
            self.next = self.used.len();
            return;
        };
        self.used[id] = true;
        self.next = id + 1;
        let (label, number) = &mut self.wanted[position];
        *number = Some(id as u32);
        self.new.push((id as u32, label));
    }
}

/// Matches desired labels with installed ids.
///
/// Ids are usually in the order of the labels, so most are found right after the previous one. Only the
/// others are sorted.
fn matched<'a>(
    wanted: impl Iterator<Item = &'a Arc<RuleLabel>>,
    installed: &'a Installed,
) -> Vec<(&'a Arc<RuleLabel>, Option<u32>)> {
    let usable = installed.rules.range(..MAX_RULES);
    let mut known: Vec<(&Arc<RuleLabel>, Option<u32>)> =
        usable.map(|(id, label)| (label, Some(*id))).collect();
    let mut next = 0;
    let guess = |label: &'a Arc<RuleLabel>| {
        let mut near = known[next..].iter_mut().take(NEAR).enumerate();
        let found = near.find(|(_, (other, _))| *other == label);
        let id = found.and_then(|(distance, (_, id))| {
            next += distance + 1;
            id.take()
        });
        (label, id)
    };
    let mut wanted: Vec<_> = wanted.map(guess).collect();
    let mut left: Vec<(&Arc<RuleLabel>, u32)> = known
        .into_iter()
        .filter_map(|(label, id)| Some((label, id?)))
        .collect();
    left.sort_unstable();
    // Of two ids with one label, the first one is used.
    left.dedup_by_key(|(label, _)| *label);
    for (label, id) in wanted.iter_mut().filter(|(_, id)| id.is_none()) {
        let found = left.binary_search_by_key(label, |(other, _)| *other);
        *id = found.ok().map(|found| left[found].1);
    }
    wanted
}

/// Number of removed labels between two others up to which the second is found without a search.
const NEAR: usize = 4;

fn used(installed: &Installed) -> Vec<bool> {
    let mut used = vec![false; MAX_RULES as usize];
    let actions = installed.blocks.actions.iter().map(|(_, record)| record.rule);
    for id in installed.rules.keys().copied().chain(actions) {
        if let Some(used) = used.get_mut(id as usize) {
            *used = true;
        }
    }
    used
}

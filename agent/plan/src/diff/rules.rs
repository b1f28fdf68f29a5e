//! Rule ids: which are taken, which stay, which are next.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xdp_core::tables::MAX_RULES;

use crate::change::Change;
use crate::compile::{Compiled, Desired};
use crate::installed::{Installed, RuleLabel};

pub(super) struct Rules<'a> {
    installed: &'a Installed,
    /// The rules wanted, in order, and their ids as far as they have one.
    wanted: Vec<(&'a RuleLabel, Option<u32>)>,
    /// Where in `wanted` a label is, by its place in memory: most are found by that.
    places: Vec<(*const RuleLabel, usize)>,
    /// Where the rules of compiled pods are in `wanted`.
    compiled: BTreeMap<*const Compiled, Option<Arc<[usize]>>>,
    /// Ids that labels or records have.
    used: Vec<bool>,
    /// All ids below are used.
    next: usize,
    /// Ids that were handed out, in order.
    new: Vec<(u32, &'a RuleLabel)>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(desired: &'a Desired, installed: &'a Installed) -> Self {
        let rules = desired.rules.iter();
        let mut places: Vec<_> = rules.clone().map(Arc::as_ptr).zip(0..).collect();
        places.sort_unstable();
        Self {
            installed,
            wanted: matched(rules.map(|label| &**label), installed),
            places,
            compiled: BTreeMap::new(),
            used: used(installed),
            next: 0,
            new: Vec::new(),
        }
    }

    /// The ids of a pod's rules; `None` as long as there are not enough for all of them.
    pub(super) fn ids(&mut self, compiled: &Arc<Compiled>) -> Option<Vec<u32>> {
        let key = Arc::as_ptr(compiled);
        let known = self.compiled.get(&key).cloned();
        let places = known.unwrap_or_else(|| compiled.rules.iter().map(|label| self.place(label)).collect());
        self.compiled.insert(key, places.clone());
        let places = places?;
        let lacking: BTreeSet<usize> = places
            .iter()
            .copied()
            .filter(|place| self.wanted[*place].1.is_none())
            .collect();
        if !self.has_free(lacking.len()) {
            return None;
        }
        for place in lacking {
            self.number(place);
        }
        places.iter().map(|place| self.wanted[*place].1).collect()
    }

    /// Gives ids to rules that no pod uses, as long as there are any.
    pub(super) fn number_others(&mut self) {
        for place in 0..self.wanted.len() {
            if self.wanted[place].1.is_none() {
                self.number(place);
            }
        }
    }

    /// Rules that get an id.
    pub(super) fn new_labels(&self) -> Vec<Change> {
        let set = |(rule, label): &(u32, &RuleLabel)| Change::SetRuleLabel {
            rule: *rule,
            label: (*label).clone(),
        };
        self.new.iter().map(set).collect()
    }

    /// Ids whose rule is gone, or has another one. `all`: no pod keeps rules that it should not have. Otherwise ids that
    /// any pod uses now stay.
    pub(super) fn stale(&self, all: bool) -> Vec<u32> {
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

    fn place(&self, label: &Arc<RuleLabel>) -> Option<usize> {
        let pointer = Arc::as_ptr(label);
        match self
            .places
            .binary_search_by_key(&pointer, |(pointer, _)| *pointer)
        {
            Ok(found) => Some(self.places[found].1),
            Err(_) => self
                .wanted
                .binary_search_by_key(&&**label, |(label, _)| *label)
                .ok(),
        }
    }

    fn has_free(&self, count: usize) -> bool {
        let free = self.used[self.next..].iter().filter(|used| !**used);
        free.take(count).count() == count
    }

    fn number(&mut self, place: usize) {
        let free = self.used[self.next..].iter().position(|used| !used);
        let Some(id) = free.map(|free| self.next + free) else {
            self.next = self.used.len();
            return;
        };
        self.used[id] = true;
        self.next = id + 1;
        let (label, number) = &mut self.wanted[place];
        *number = Some(id as u32);
        self.new.push((id as u32, label));
    }
}

/// Labels wanted, with the ids that they have. Where a label is there twice, its first id counts.
fn matched<'a>(
    wanted: impl Iterator<Item = &'a RuleLabel>,
    installed: &'a Installed,
) -> Vec<(&'a RuleLabel, Option<u32>)> {
    let usable = installed.rules.range(..MAX_RULES);
    let mut known: Vec<(&RuleLabel, u32)> = usable.map(|(id, label)| (label, *id)).collect();
    known.sort();
    known.dedup_by_key(|(label, _)| *label);
    let mut known = known.into_iter().peekable();
    let find = |label: &'a RuleLabel| {
        while known
            .next_if(|(other, _)| (*other).cmp(label) == Ordering::Less)
            .is_some()
        {}
        (
            label,
            known.next_if(|(other, _)| *other == label).map(|(_, id)| id),
        )
    };
    wanted.map(find).collect()
}

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

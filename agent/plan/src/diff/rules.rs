//! Rule ids: which are taken, which stay, which are next.

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

/// Ids of a plan's rules.
pub(super) struct Rules<'a> {
    desired: &'a Desired,
    installed: &'a Installed,
    settled: Option<&'a Arc<Settled>>,
    /// The ids of compiled rules, as far as they were asked for.
    ids: BTreeMap<*const Compiled, Option<Arc<[u32]>>>,
    /// Made when it is needed first: hardly ever, where nothing is to be numbered.
    numbering: Option<Numbering<'a>>,
}

/// Every rule wanted has an id, and nothing else has one: ids by the places of the labels in memory.
#[derive(Debug)]
pub(super) struct Settled(Vec<(usize, u32)>);

impl<'a> Rules<'a> {
    /// `settled`: what was found of the same labels, wanted and installed.
    pub(super) const fn new(
        desired: &'a Desired,
        installed: &'a Installed,
        settled: Option<&'a Arc<Settled>>,
    ) -> Self {
        Self {
            desired,
            installed,
            settled,
            ids: BTreeMap::new(),
            numbering: None,
        }
    }

    /// The ids of a pod's rules; `None` as long as there are not enough for all of them.
    pub(super) fn ids(&mut self, compiled: &Arc<Compiled>) -> Option<Arc<[u32]>> {
        let key = Arc::as_ptr(compiled);
        if let Some(ids) = self.ids.get(&key) {
            return ids.clone();
        }
        let settled = self.settled.and_then(|settled| settled.ids(compiled));
        let ids = settled.or_else(|| self.numbering().ids(compiled));
        self.ids.insert(key, ids.clone());
        ids
    }

    /// Gives ids to rules that no pod uses, as long as there are any.
    pub(super) fn number_others(&mut self) {
        if self.settled.is_none() {
            self.numbering().number_others();
        }
    }

    /// Rules that get an id.
    pub(super) fn new_labels(&self) -> Vec<Change> {
        self.numbering
            .as_ref()
            .map_or_else(Vec::new, Numbering::new_labels)
    }

    /// Ids whose rule is gone, or has another one. `all`: no pod keeps rules that it should not have. Otherwise ids that
    /// any pod uses now stay.
    pub(super) fn stale(&self, all: bool) -> Vec<u32> {
        let numbering = self.numbering.as_ref();
        numbering.map_or_else(Vec::new, |numbering| numbering.stale(all))
    }

    /// For a comparison with the same labels.
    pub(super) fn settled(&self) -> Option<Arc<Settled>> {
        if let Some(settled) = self.settled {
            return Some(Arc::clone(settled));
        }
        let numbering = self.numbering.as_ref()?;
        if !numbering.new.is_empty() || !numbering.stale(true).is_empty() {
            return None;
        }
        let ids = numbering.wanted.iter();
        let ids: Option<Vec<_>> = ids.map(|(label, id)| Some((address(label), (*id)?))).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        Some(Arc::new(Settled(ids)))
    }

    fn numbering(&mut self) -> &mut Numbering<'a> {
        let Self {
            desired, installed, ..
        } = *self;
        self.numbering
            .get_or_insert_with(|| Numbering::new(desired, installed))
    }
}

impl Settled {
    /// `None`: some labels are none of these, if perhaps equal to them.
    fn ids(&self, compiled: &Compiled) -> Option<Arc<[u32]>> {
        let id = |label: &Arc<RuleLabel>| {
            let found = self.0.binary_search_by_key(&address(label), |(place, _)| *place);
            found.ok().map(|found| self.0[found].1)
        };
        compiled.rules.iter().map(id).collect()
    }
}

/// The search for ids.
struct Numbering<'a> {
    installed: &'a Installed,
    /// The rules wanted, in order, and their ids as far as they have one.
    wanted: Vec<(&'a Arc<RuleLabel>, Option<u32>)>,
    /// Where in `wanted` a label is, by its place in memory: most are found by that.
    places: Vec<(*const RuleLabel, usize)>,
    /// Ids that labels or records have.
    used: Vec<bool>,
    /// All ids below are used.
    next: usize,
    /// Ids that were handed out, in order.
    new: Vec<(u32, &'a Arc<RuleLabel>)>,
}

impl<'a> Numbering<'a> {
    fn new(desired: &'a Desired, installed: &'a Installed) -> Self {
        let rules = desired.rules.iter();
        let mut places: Vec<_> = rules.clone().map(Arc::as_ptr).zip(0..).collect();
        places.sort_unstable();
        Self {
            installed,
            wanted: matched(rules, installed),
            places,
            used: used(installed),
            next: 0,
            new: Vec::new(),
        }
    }

    fn ids(&mut self, compiled: &Compiled) -> Option<Arc<[u32]>> {
        let places: Option<Vec<usize>> = compiled.rules.iter().map(|label| self.place(label)).collect();
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

    fn number_others(&mut self) {
        for place in 0..self.wanted.len() {
            if self.wanted[place].1.is_none() {
                self.number(place);
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

    fn place(&self, label: &Arc<RuleLabel>) -> Option<usize> {
        let pointer = Arc::as_ptr(label);
        match self
            .places
            .binary_search_by_key(&pointer, |(pointer, _)| *pointer)
        {
            Ok(found) => Some(self.places[found].1),
            Err(_) => self.wanted.binary_search_by_key(&label, |(label, _)| *label).ok(),
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

/// Labels wanted, with the ids that they have.
///
/// Ids were handed out in the order of the labels, as a rule, so most are found where the last one was; only what is left
/// has to be sorted.
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
    // Where a label is there twice, its first id counts.
    left.dedup_by_key(|(label, _)| *label);
    for (label, id) in wanted.iter_mut().filter(|(_, id)| id.is_none()) {
        let found = left.binary_search_by_key(label, |(other, _)| *other);
        *id = found.ok().map(|found| left[found].1);
    }
    wanted
}

/// How many labels may have gone between two that stay, for the second to be found without a search.
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

//! Numbers namespaces, and shares out what their rules have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
};

use xdp_core::tables::{MAX_NAMESPACES, ShareWord};

use super::ranges::{
    Ranges, {self},
};
use crate::{
    change::Change,
    compile::Compiled,
    installed::{Installed, Numbers, Shared},
};

/// The namespaces in one diff.
pub(super) struct Namespaces<'a> {
    installed: &'a Installed,
    numbers: Numbers<'a>,
    /// What the desired rules share, by the number of their namespace.
    desired: BTreeMap<u16, Shared>,
}

impl<'a> Namespaces<'a> {
    pub(super) fn new(installed: &'a Installed) -> Self {
        Self {
            installed,
            numbers: Numbers::new(installed),
            desired: BTreeMap::new(),
        }
    }

    /// Returns the number of a pod's namespace, and assigns one if needed; zero if the pod's rules share
    /// nothing. `None`: no number is free.
    pub(super) fn number(&mut self, namespace: &'a str, rules: &Compiled) -> Option<u16> {
        if rules.shared == Shared::default() {
            return Some(0);
        }
        let number = match self.numbers.of.get(namespace) {
            Some(number) => *number,
            None => self.free()?,
        };
        self.numbers.of.insert(namespace, number);
        let all = self.desired.entry(number).or_default();
        *all = all.and(rules.shared);
        Some(number)
    }

    /// Returns the changes before the first record of a new namespace is written, and those after the last
    /// record of an old one is removed. `all`: no block stays whose rules are not desired.
    pub(super) fn changes(&self, all: bool) -> (Vec<Change>, Vec<Change>) {
        let mut both = self.numbers.live.clone();
        for (number, shared) in &self.desired {
            let known = both.entry(*number).or_default();
            *known = known.and(*shared);
        }
        let mut shares = Shares::new(self, &both);
        let before = shares.changes(&both, |shares| shares.admit(&both));
        let kept = if all { &self.desired } else { &both };
        let after = shares.changes(kept, Shares::extend);
        (before, after)
    }

    fn free(&self) -> Option<u16> {
        let numbers = 1..MAX_NAMESPACES as u16;
        let is_free =
            |number: &u16| !self.numbers.live.contains_key(number) && !self.desired.contains_key(number);
        numbers.into_iter().find(is_free)
    }
}

/// The words while they change.
struct Shares {
    ranges: Ranges,
    tags: BTreeMap<u16, u16>,
    words: BTreeMap<u16, ShareWord>,
    answering: u32,
    changes: Vec<Change>,
}

impl Shares {
    fn new(namespaces: &Namespaces<'_>, both: &BTreeMap<u16, Shared>) -> Self {
        let words = &namespaces.installed.shares;
        let limiting = words.iter().filter(|(number, _)| limits_sources(both, **number));
        Self {
            ranges: ranges::valid(limiting.map(|(number, word)| (*number, *word))),
            tags: tags(namespaces, both),
            words: words.clone(),
            answering: namespaces.installed.answering,
            changes: Vec::new(),
        }
    }

    /// Returns the changes to what `namespaces` have in common. `share` shares it out.
    fn changes(&mut self, namespaces: &BTreeMap<u16, Shared>, share: impl FnOnce(&mut Self)) -> Vec<Change> {
        let answering = namespaces.values().filter(|shared| shared.answers).count() as u32;
        if answering != self.answering {
            self.answering = answering;
            self.changes.push(Change::SetAnswering {
                namespaces: answering,
            });
        }
        self.ranges
            .retain(|number, _| limits_sources(namespaces, *number));
        let stale: Vec<u16> = self
            .words
            .keys()
            .copied()
            .filter(|number| !self.ranges.contains_key(number))
            .collect();
        for number in stale {
            self.set(number);
        }
        share(self);
        std::mem::take(&mut self.changes)
    }

    /// Gives a range to those that have none.
    fn admit(&mut self, namespaces: &BTreeMap<u16, Shared>) {
        for (number, shared) in namespaces {
            if shared.sources && !self.ranges.contains_key(number) {
                let giver = ranges::add(&mut self.ranges, *number);
                if let Some(giver) = giver {
                    self.set(giver);
                }
            }
            self.set(*number);
        }
    }

    /// Lends what is free.
    fn extend(&mut self) {
        loop {
            let changed = ranges::extend(&mut self.ranges);
            if changed.is_empty() {
                return;
            }
            for number in changed {
                self.set(number);
            }
        }
    }

    /// Writes the word of a namespace, if it differs.
    fn set(&mut self, number: u16) {
        let word =
            |range: &Range<u32>| ShareWord::new(range.start as u16, range.len() as u16, self.tags[&number]);
        let share = self.ranges.get(&number).map_or(ShareWord::EMPTY, word);
        let before = if share == ShareWord::EMPTY {
            self.words.remove(&number)
        } else {
            self.words.insert(number, share)
        };
        if before.unwrap_or_default() != share {
            self.changes.push(Change::SetShare {
                namespace: number,
                share,
            });
        }
    }
}

fn limits_sources(namespaces: &BTreeMap<u16, Shared>, number: u16) -> bool {
    namespaces.get(&number).is_some_and(|shared| shared.sources)
}

/// Returns different tags. The tag of a number in use stays. A new one depends on the namespace, so that it
/// is rarely that of a namespace that had the same sets before.
fn tags(namespaces: &Namespaces<'_>, both: &BTreeMap<u16, Shared>) -> BTreeMap<u16, u16> {
    let words = &namespaces.installed.shares;
    let Numbers { of, live } = &namespaces.numbers;
    let mut tags = BTreeMap::new();
    let mut used = BTreeSet::from([0]);
    for number in live.keys() {
        let tag = words.get(number).map(|word| word.tag());
        let tag = tag.filter(|tag| used.insert(*tag));
        tags.extend(tag.map(|tag| (*number, tag)));
    }
    let written: BTreeMap<u16, u16> = words.iter().map(|(number, word)| (word.tag(), *number)).collect();
    let names: BTreeMap<u16, &str> = of
        .iter()
        .map(|(namespace, number)| (*number, *namespace))
        .collect();
    for number in both.keys() {
        tags.entry(*number).or_insert_with(|| {
            let is_written = |tag| written.get(&tag).is_some_and(|other| other != number);
            let mut tag = hash(names.get(number));
            while is_written(tag) || !used.insert(tag) {
                tag = tag.wrapping_add(1);
            }
            tag
        });
    }
    tags
}

fn hash(name: Option<&&str>) -> u16 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as u16
}

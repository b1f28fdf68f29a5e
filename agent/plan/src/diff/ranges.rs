//! Shares the sets of source limits out: each namespace has a range of them.
//!
//! With `n` namespaces, each one has at least the sets divided by the next power of two from `n` on. What is
//! free is lent: a namespace that is alone has all sets. When another one comes, the largest range gives its
//! second half back. So a range changes rarely, and the sources in the half that stays keep their places.

use std::{collections::BTreeMap, ops::Range};

use xdp_core::tables::{LIMIT_SETS, MIN_LIMIT_SETS, ShareWord};

/// Ranges by the number of the namespace. Their lengths are powers of two, each one starts at a multiple of
/// its length, and they do not overlap.
pub(super) type Ranges = BTreeMap<u16, Range<u32>>;

/// Returns the ranges of installed words that are valid. Of two that overlap, the first one is.
pub(super) fn valid(words: impl Iterator<Item = (u16, ShareWord)>) -> Ranges {
    let mut ranges = Ranges::new();
    let mut used = Used::of(&ranges);
    for (number, word) in words {
        let (first, sets) = (u32::from(word.first()), u32::from(word.sets()));
        let range = first..first + sets;
        let is_range = sets >= MIN_LIMIT_SETS && sets.is_power_of_two() && first.is_multiple_of(sets);
        if is_range && range.end <= LIMIT_SETS && used.is_free(&range) {
            used.add(&range);
            ranges.insert(number, range);
        }
    }
    ranges
}

/// Gives a range to a namespace: the largest free one, or half of the largest one if that is more. Returns
/// the namespace that gave it back. Without room, nothing changes.
pub(super) fn add(ranges: &mut Ranges, number: u16) -> Option<u16> {
    let free = Used::of(ranges).largest_free();
    let largest = ranges.iter().max_by_key(|(_, range)| range.len());
    let largest = largest.map(|(owner, range)| (*owner, range.clone()));
    let half = largest.as_ref().map_or(0, |(_, range)| range.len() as u32 / 2);
    if let Some(free) = free.filter(|free| free.len() as u32 >= half) {
        ranges.insert(number, free);
        return None;
    }
    let (owner, range) = largest.filter(|_| half >= MIN_LIMIT_SETS)?;
    let middle = range.start + half;
    ranges.insert(owner, range.start..middle);
    ranges.insert(number, middle..range.end);
    Some(owner)
}

/// Makes one range longer that is shorter than it should be, or whose neighbour is free. Returns the
/// namespaces whose range has changed, the one that gave sets back first. Empty: nothing is left to do.
pub(super) fn extend(ranges: &mut Ranges) -> Vec<u16> {
    let sure = sure(ranges.len());
    let used = Used::of(ranges);
    let mut by_length: Vec<(usize, u16)> = ranges
        .iter()
        .map(|(number, range)| (range.len(), *number))
        .collect();
    by_length.sort_unstable();
    for (length, number) in by_length {
        let range = &ranges[&number];
        if used.is_free(&neighbour(range)) {
            let doubled = doubled(range);
            ranges.insert(number, doubled);
            return vec![number];
        }
        if length < sure as usize {
            let mut moved = ranges.clone();
            let giver = add(&mut moved, number);
            if moved[&number].len() > length {
                *ranges = moved;
                return giver.into_iter().chain([number]).collect();
            }
        }
    }
    Vec::new()
}

/// Returns the fewest sets of a namespace when this many share the table.
fn sure(namespaces: usize) -> u32 {
    let parts = namespaces.max(1).next_power_of_two();
    (LIMIT_SETS / parts as u32).max(MIN_LIMIT_SETS)
}

/// Returns the range of twice the length that contains this one.
const fn doubled(range: &Range<u32>) -> Range<u32> {
    let length = 2 * (range.end - range.start);
    let start = range.start & !(length - 1);
    start..start + length
}

/// Returns the rest of [`doubled`].
const fn neighbour(range: &Range<u32>) -> Range<u32> {
    let length = range.end - range.start;
    let start = range.start ^ length;
    start..start + length
}

/// Which sets are in use, in units of [`MIN_LIMIT_SETS`].
struct Used(Vec<bool>);

impl Used {
    fn of(ranges: &Ranges) -> Self {
        let mut used = Self(vec![false; (LIMIT_SETS / MIN_LIMIT_SETS) as usize]);
        for range in ranges.values() {
            used.add(range);
        }
        used
    }

    fn add(&mut self, range: &Range<u32>) {
        self.0[units(range)].fill(true);
    }

    /// Returns whether no set of the range is in use. Sets beyond the table are never free.
    fn is_free(&self, range: &Range<u32>) -> bool {
        let units = self.0.get(units(range));
        units.is_some_and(|units| units.iter().all(|used| !used))
    }

    /// Returns the first of the longest ranges that are free.
    fn largest_free(&self) -> Option<Range<u32>> {
        let mut length = LIMIT_SETS;
        while length >= MIN_LIMIT_SETS {
            let starts = (0..LIMIT_SETS).step_by(length as usize);
            let mut candidates = starts.map(|start| start..start + length);
            if let Some(range) = candidates.find(|range| self.is_free(range)) {
                return Some(range);
            }
            length /= 2;
        }
        None
    }
}

const fn units(range: &Range<u32>) -> Range<usize> {
    (range.start / MIN_LIMIT_SETS) as usize..(range.end / MIN_LIMIT_SETS) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What [`super::super::namespaces`] does: those that go, those that come, and then what is left to do.
    fn step(ranges: &mut Ranges, wanted: &BTreeSet<u16>) {
        ranges.retain(|number, _| wanted.contains(number));
        for number in wanted {
            if !ranges.contains_key(number) {
                add(ranges, *number);
            }
        }
        while !extend(ranges).is_empty() {}
    }

    fn assert_valid(ranges: &Ranges) {
        let word = |range: &Range<u32>| ShareWord::new(range.start as u16, range.len() as u16, 1);
        let words = ranges.iter().map(|(number, range)| (*number, word(range)));
        assert_eq!(valid(words), *ranges);
    }

    fn namespaces() -> impl Strategy<Value = BTreeSet<u16>> {
        let some = |most: usize| prop::collection::btree_set(1..1500_u16, 0..=most);
        prop_oneof![some(4), some(20), some(300), some(1024)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn each_namespace_has_its_sure_part_and_no_two_overlap(
            turns in prop::collection::vec(namespaces(), 1..8),
        ) {
            let mut ranges = Ranges::new();
            for wanted in turns {
                step(&mut ranges, &wanted);
                assert_valid(&ranges);
                prop_assert_eq!(ranges.len(), wanted.len());
                let parts = wanted.len().max(1).next_power_of_two();
                for range in ranges.values() {
                    prop_assert!(range.len() >= LIMIT_SETS as usize / parts);
                }
                let before = ranges.clone();
                step(&mut ranges, &wanted);
                prop_assert_eq!(&before, &ranges, "nothing is left to do");
            }
        }

        #[test]
        fn those_that_stay_keep_the_first_part_of_their_range_when_others_come(
            first in namespaces(),
            more in namespaces(),
        ) {
            let mut ranges = Ranges::new();
            step(&mut ranges, &first);
            let before = ranges.clone();
            for number in more {
                if ranges.len() < 1024 && !ranges.contains_key(&number) {
                    add(&mut ranges, number);
                }
            }
            for (number, range) in before {
                prop_assert_eq!(ranges[&number].start, range.start);
                prop_assert!(ranges[&number].end <= range.end);
            }
        }
    }

    #[test]
    fn one_namespace_has_all_sets_again_when_the_others_have_gone() {
        let mut ranges = Ranges::new();
        step(&mut ranges, &BTreeSet::from([7]));
        assert_eq!(ranges[&7], 0..LIMIT_SETS);
        step(&mut ranges, &(1..=500).collect());
        assert_eq!(ranges[&7].start, 0);
        step(&mut ranges, &BTreeSet::from([7]));
        assert_eq!(ranges[&7], 0..LIMIT_SETS);
    }

    #[test]
    fn beyond_the_last_range_nothing_changes() {
        let mut ranges = Ranges::new();
        step(&mut ranges, &(1..=1024).collect());
        let before = ranges.clone();
        assert_eq!(add(&mut ranges, 2000), None);
        assert_eq!(ranges, before);
    }
}

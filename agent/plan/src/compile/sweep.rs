//! Cuts all addresses into intervals to which the same rules apply.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::Interval;

/// A bound at which a list starts or stops to apply, and the list's number. The intervals of a list are not
/// adjacent, so the two alternate.
pub(crate) type Toggle = (u128, u32);

/// Returns the bounds of all lists up to `last`, sorted.
pub(crate) fn toggles<'a>(lists: impl Iterator<Item = &'a [Interval]>, last: u128) -> Vec<Toggle> {
    let mut toggles = Vec::new();
    for (number, list) in lists.enumerate() {
        for &(first, end) in list {
            toggles.push((first, number as u32));
            if end < last {
                toggles.push((end + 1, number as u32));
            }
        }
    }
    toggles.sort_unstable();
    toggles
}

/// Sets of sources that contain the same addresses, each with a number.
#[derive(Default)]
pub(crate) struct Sets {
    numbers: BTreeMap<Vec<u32>, u32>,
}

impl Sets {
    /// Cuts all addresses at bounds. Returns the first address of each interval and the number of its set, in
    /// ascending order, starting at zero.
    pub(crate) fn sweep(&mut self, toggles: &[Toggle]) -> Vec<(u128, u32)> {
        let mut active = BTreeSet::new();
        let mut parts = Vec::new();
        let mut toggles = toggles.iter().peekable();
        let mut at = 0;
        loop {
            while let Some((_, number)) = toggles.next_if(|toggle| toggle.0 == at) {
                if !active.remove(number) {
                    active.insert(*number);
                }
            }
            parts.push((at, self.number(&active)));
            match toggles.peek() {
                Some((next, _)) => at = *next,
                None => return parts,
            }
        }
    }

    /// Lists all sets by number.
    pub(crate) fn list(&self) -> Vec<&[u32]> {
        let mut list = vec![&[][..]; self.numbers.len()];
        for (set, number) in &self.numbers {
            list[*number as usize] = set;
        }
        list
    }

    fn number(&mut self, active: &BTreeSet<u32>) -> u32 {
        let next = self.numbers.len() as u32;
        *self
            .numbers
            .entry(active.iter().copied().collect())
            .or_insert(next)
    }
}

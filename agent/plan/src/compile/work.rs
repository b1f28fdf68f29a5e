//! The work of one turn: so much is compiled at once, and the rest in the next turns.
//!
//! So no number of rules keeps others waiting: each namespace may do a little in each turn, whatever the
//! others have to do, and those who did the least go first.

use std::collections::BTreeMap;

/// What all namespaces together may do in a turn, in the units of [`super::cost::Cost`]: about 20 ms.
const TURN: usize = 1 << 20;
/// What each namespace may do in a turn at least.
const LEAST: usize = 1 << 15;

/// What a namespace may save of its parts for work that is larger than one of them.
const MOST_SAVED: usize = 1 << 24;

/// The work of one turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// What is left of the parts.
    left: BTreeMap<String, usize>,
    /// What is left for all.
    shared: usize,
    /// What was done.
    done: BTreeMap<String, usize>,
}

impl Turn {
    /// Starts a turn for these namespaces.
    pub(super) fn new<'n>(namespaces: impl ExactSizeIterator<Item = &'n str>, served: &Served) -> Self {
        let part = (TURN / 2 / namespaces.len().max(1)).max(LEAST);
        let left = namespaces.map(|namespace| (namespace.to_owned(), part + served.saved(namespace)));
        Self {
            left: left.collect(),
            shared: TURN / 2,
            done: BTreeMap::new(),
        }
    }

    /// Whether a namespace may do this number of units now. The largest work has more units than a turn, so
    /// it may start as long as anything is left for all.
    pub(super) fn allows(&self, namespace: &str, units: usize) -> bool {
        self.shared > 0 || units <= self.left(namespace)
    }

    /// Takes units from a namespace's part, and the rest from what is left for all.
    pub(super) fn charge(&mut self, namespace: &str, units: usize) {
        let left = self.left(namespace);
        let own = units.min(left);
        self.left.insert(namespace.to_owned(), left - own);
        self.shared = self.shared.saturating_sub(units - own);
    }

    /// Notes work that was done, not only tried.
    pub(super) fn note(&mut self, namespace: &str, units: usize) {
        *self.done.entry(namespace.to_owned()).or_default() += units;
    }

    fn left(&self, namespace: &str) -> usize {
        self.left.get(namespace).copied().unwrap_or_default()
    }
}

/// What namespaces have done lately, and what those have saved that have work left.
#[derive(Debug, Default)]
pub(super) struct Served {
    done: BTreeMap<String, usize>,
    saved: BTreeMap<String, usize>,
}

impl Served {
    /// Returns what a namespace has done. It counts less from turn to turn.
    pub(super) fn units(&self, namespace: &str) -> usize {
        self.done.get(namespace).copied().unwrap_or_default()
    }

    fn saved(&self, namespace: &str) -> usize {
        self.saved.get(namespace).copied().unwrap_or_default()
    }

    /// Notes the end of a turn.
    pub(super) fn note(&mut self, turn: &Turn, pending: impl Iterator<Item = String>) {
        for done in self.done.values_mut() {
            *done -= done.div_ceil(8);
        }
        for (namespace, units) in &turn.done {
            *self.done.entry(namespace.clone()).or_default() += units;
        }
        self.done.retain(|_, done| *done > 0);
        let saved = pending.map(|namespace| {
            let left = turn.left(&namespace).min(MOST_SAVED);
            (namespace, left)
        });
        self.saved = saved.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(namespaces: &[&'static str], served: &Served) -> Turn {
        Turn::new(namespaces.iter().copied(), served)
    }

    #[test]
    fn a_namespace_may_do_a_little_whatever_others_have_done() {
        let mut turn = turn(&["heavy", "light"], &Served::default());
        let part = turn.left("light");
        turn.charge("heavy", 100 * TURN);
        assert!(!turn.allows("heavy", 1));
        assert!(part >= LEAST && turn.allows("light", part) && !turn.allows("light", part + 1));
        turn.charge("light", part);
        assert!(!turn.allows("light", 1));
    }

    #[test]
    fn the_largest_work_may_start_while_anything_is_left() {
        let mut turn = turn(&["a", "b"], &Served::default());
        turn.charge("a", TURN / 4 + 1);
        assert!(turn.allows("b", 100 * TURN));
    }

    #[test]
    fn work_that_is_larger_than_a_part_is_saved_for() {
        let mut served = Served::default();
        for _ in 0..100 {
            let mut turn = turn(&["a", "b"], &served);
            turn.charge("a", 100 * TURN);
            if turn.allows("b", TURN) {
                return;
            }
            served.note(&turn, ["b".to_owned()].into_iter());
        }
        panic!("it never starts");
    }

    #[test]
    fn those_who_did_the_least_are_known_also_after_they_finish() {
        let mut turn = turn(&["a", "b", "c"], &Served::default());
        turn.note("a", 5000);
        turn.note("b", 700);
        let mut served = Served::default();
        served.note(&turn, ["b".to_owned()].into_iter());
        assert!(served.units("a") > served.units("b") && served.units("b") > served.units("c"));
        for _ in 0..200 {
            served.note(&Turn::new([].into_iter(), &served), [].into_iter());
        }
        assert_eq!(served.units("a"), 0);
    }
}

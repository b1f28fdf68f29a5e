//! The work of one turn: so much is compiled at once, and the rest in the next turns.
//!
//! So no number of rules keeps others waiting: each namespace may do a little in each turn, whatever the
//! others have to do, and those who did the least go first.

use std::collections::BTreeMap;

/// What all namespaces together may do in a turn, in the units of [`super::cost::Cost`]: about 20 ms.
const TURN: usize = 1 << 20;
/// What each namespace may do in a turn at least.
const LEAST: usize = 1 << 15;

/// The work of one turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// What is left of each namespace's part.
    part: usize,
    of_namespaces: BTreeMap<String, usize>,
    /// What is left for all.
    shared: usize,
}

impl Turn {
    /// Starts a turn for this number of namespaces.
    pub(super) fn new(namespaces: usize) -> Self {
        Self {
            part: (TURN / 2 / namespaces.max(1)).max(LEAST),
            of_namespaces: BTreeMap::new(),
            shared: TURN / 2,
        }
    }

    /// Whether a namespace may do this number of units now. The largest work has more units than a turn, so
    /// it may start as long as anything is left for all.
    pub(super) fn allows(&self, namespace: &str, units: usize) -> bool {
        self.shared > 0 || units <= self.left(namespace)
    }

    /// Notes what a namespace did.
    pub(super) fn charge(&mut self, namespace: &str, units: usize) {
        let left = self.left(namespace);
        let own = units.min(left);
        self.of_namespaces.insert(namespace.to_owned(), left - own);
        self.shared = self.shared.saturating_sub(units - own);
    }

    fn left(&self, namespace: &str) -> usize {
        self.of_namespaces.get(namespace).copied().unwrap_or(self.part)
    }
}

/// What namespaces with work left have done in earlier turns.
#[derive(Debug, Default)]
pub(super) struct Served(BTreeMap<String, usize>);

impl Served {
    /// Returns what a namespace has done.
    pub(super) fn units(&self, namespace: &str) -> usize {
        self.0.get(namespace).copied().unwrap_or_default()
    }

    /// Notes what a turn has done. A namespace without work left starts again.
    pub(super) fn note(&mut self, turn: &Turn, pending: impl Iterator<Item = String>) {
        let before = std::mem::take(&mut self.0);
        for namespace in pending {
            let done = turn.part - turn.left(&namespace);
            let units = before.get(&namespace).copied().unwrap_or_default() + done.max(1);
            self.0.insert(namespace, units);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_may_do_a_little_whatever_others_have_done() {
        let mut turn = Turn::new(100);
        turn.charge("heavy", 100 * TURN);
        assert!(!turn.allows("heavy", 1));
        assert!(turn.allows("light", LEAST) && !turn.allows("light", LEAST + 1));
        turn.charge("light", LEAST);
        assert!(!turn.allows("light", 1));
    }

    #[test]
    fn the_largest_work_may_start_while_anything_is_left() {
        let mut turn = Turn::new(2);
        turn.charge("a", TURN / 4);
        assert!(turn.allows("b", 100 * TURN));
    }

    #[test]
    fn those_who_did_the_least_are_known() {
        let mut turn = Turn::new(2);
        turn.charge("a", 50);
        turn.charge("b", 7);
        let mut served = Served::default();
        served.note(&turn, ["a".to_owned(), "b".to_owned()].into_iter());
        assert!(served.units("a") > served.units("b") && served.units("b") > served.units("c"));
        served.note(&turn, ["b".to_owned()].into_iter());
        assert_eq!(served.units("a"), 0);
    }
}

//! Comparing again and again.

use std::{collections::BTreeSet, sync::Arc};

use super::{rules::Settled, trees::Trees};
use crate::{
    change::Change,
    desired::Desired,
    installed::{Installed, RuleLabel},
};

/// Compares as [`super::diff`] does, and remembers what it found: from one reading to the next, most of the kernel's bytes
/// and most rules are the same. They are looked at byte by byte; what they mean is not worked out again.
#[derive(Debug, Default)]
pub struct Differ {
    reading: Arc<Installed>,
    wanted: Arc<BTreeSet<Arc<RuleLabel>>>,
    found: Found,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) trees: Trees,
    /// `None`: ids were given or taken back.
    pub(super) settled: Option<Arc<Settled>>,
}

impl Differ {
    /// The changes that lead from `installed` to `desired`.
    pub fn diff(&mut self, desired: &Desired, installed: &Arc<Installed>) -> Vec<Change> {
        let same_labels =
            Arc::ptr_eq(&self.wanted, &desired.rules) && Arc::ptr_eq(&self.reading.rules, &installed.rules);
        if !same_labels {
            self.found.settled = None;
        }
        if !installed.blocks.agree_with(&self.reading.blocks) {
            self.found.trees.clear();
        }
        let (changes, found) = super::compare(desired, installed, &self.found);
        self.found = found;
        self.reading = Arc::clone(installed);
        self.wanted = Arc::clone(&desired.rules);
        changes
    }

    /// What it found in this very reading.
    pub(crate) fn trees_of(&self, installed: &Installed) -> Option<&Trees> {
        std::ptr::eq(&raw const *self.reading, installed).then_some(&self.found.trees)
    }
}

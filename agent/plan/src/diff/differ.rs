//! Compares repeatedly, with the results of the last comparison.

use std::{collections::BTreeSet, sync::Arc};

use super::{rules::RuleIds, trees::Trees};
use crate::{
    change::Change,
    desired::Desired,
    installed::{Installed, RuleLabel},
};

/// Compares like [`super::diff`], and stores the results. Most blocks and rules do not change between two
/// readings: equal bytes are not interpreted again.
#[derive(Debug, Default)]
pub struct Differ {
    reading: Arc<Installed>,
    wanted: Arc<BTreeSet<Arc<RuleLabel>>>,
    found: Found,
}

/// The results of a comparison.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) trees: Trees,
    /// `None`: the comparison assigned or cleared ids.
    pub(super) rule_ids: Option<Arc<RuleIds>>,
}

impl Differ {
    /// Returns the changes that lead from `installed` to `desired`.
    pub fn diff(&mut self, desired: &Desired, installed: &Arc<Installed>) -> Vec<Change> {
        let same_labels =
            Arc::ptr_eq(&self.wanted, &desired.rules) && Arc::ptr_eq(&self.reading.rules, &installed.rules);
        if !same_labels {
            self.found.rule_ids = None;
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

    /// Returns the results for this reading, if it is the last one.
    pub(crate) fn trees_of(&self, installed: &Installed) -> Option<&Trees> {
        std::ptr::eq(&raw const *self.reading, installed).then_some(&self.found.trees)
    }
}

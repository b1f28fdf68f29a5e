//! What is pinned of rules: labels, counters, and what namespaces share.

use std::collections::BTreeMap;

use xdp_core::tables::{Count, MAX_NAMESPACES, RuleCounters, ShareWord, maps};
use xdp_plan::installed::{
    RuleLabel, {self},
};

use super::{Pinned, add, total};
use crate::datapath::{error::OpenError, kernel::plain::Plain, tables::labels::from_text};

impl Pinned {
    /// Rule ids that carry a label.
    pub fn rule_labels(&self) -> installed::RuleLabels {
        self.rule_labels.read(&self.tables.memory.rule_labels)
    }

    /// Upper bound of rule ids.
    pub fn rule_capacity(&self) -> u32 {
        self.tables.memory.rule_labels.len()
    }

    /// Number of rule ids that carry a label.
    pub fn rule_count(&self) -> usize {
        let texts = &self.tables.memory.rule_labels;
        let carries = |rule: &u32| texts.get(*rule).is_some_and(|text| text.len > 0);
        (0..texts.len()).filter(carries).count()
    }

    /// The label of one rule id.
    pub fn rule_label(&self, rule: u32) -> Option<RuleLabel> {
        from_text(self.tables.memory.rule_labels.get(rule)?)
    }

    /// Counters of one rule, over all CPUs.
    pub fn rule_counters(&self, rule: u32) -> Result<RuleCounters, OpenError> {
        let values = self
            .tables
            .counters
            .get(&rule, 0)
            .map_err(OpenError::table(maps::RULE_COUNTERS))?;
        let mut sum = RuleCounters::default();
        for Plain(value) in values.iter() {
            add(&mut sum.redirected, value.redirected);
            add(&mut sum.passed, value.passed);
            add(&mut sum.dropped, value.dropped);
            add(&mut sum.rejected, value.rejected);
            add(&mut sum.limited, value.limited);
            add(&mut sum.audited, value.audited);
            add(&mut sum.fell_back, value.fell_back);
        }
        Ok(sum)
    }

    /// Packets of one rule that readers saw in their pods, over all CPUs.
    pub fn delivered(&self, rule: u32) -> Result<Count, OpenError> {
        let values = self
            .tables
            .delivered
            .get(&rule, 0)
            .map_err(OpenError::table(maps::DELIVERED))?;
        Ok(total(&values))
    }

    /// Reads what namespaces have of the limits of sources.
    pub(super) fn shares(&self) -> BTreeMap<u16, ShareWord> {
        let words = &self.tables.memory.namespaces;
        (1..MAX_NAMESPACES as u16)
            .filter_map(|number| Some((number, ShareWord(words.load(number.into())?))))
            .filter(|(_, word)| *word != ShareWord::EMPTY)
            .collect()
    }

    /// Reads how many namespaces have Reject rules.
    pub(super) fn answering(&self) -> u32 {
        self.tables.memory.namespaces.load(0).unwrap_or_default() as u32
    }
}

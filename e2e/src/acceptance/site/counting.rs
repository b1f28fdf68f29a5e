//! Counters before and after: those of a rule, and those of the driver.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::Site;
use crate::{FIELDS, acceptance::host::statistics};

/// The counters of a rule and of the NIC at some time.
pub(in crate::acceptance) struct Counting<'s, 'l> {
    site: &'s Site<'l>,
    rule: &'static str,
    counts: [u64; FIELDS.len()],
    statistics: BTreeMap<String, u64>,
}

impl<'l> Site<'l> {
    /// Reads the counters of a rule, and those of the driver.
    pub(in crate::acceptance) fn count<'s>(&'s self, rule: &'static str) -> anyhow::Result<Counting<'s, 'l>> {
        let status = self.wait_for("the status can be read", |_| true)?;
        Ok(Counting {
            site: self,
            rule,
            counts: status.counts(rule),
            statistics: statistics(self.lab.node(), &self.nic),
        })
    }
}

impl Counting<'_, '_> {
    /// Waits until the rule has counted exactly these packets since.
    pub(in crate::acceptance) fn rule(&self, expected: &[(&str, u64)]) -> anyhow::Result<()> {
        let rule = self.rule;
        self.site.wait_for(
            &format!("`{rule}` has counted {expected:?} and nothing else"),
            |status| {
                let since = |field: usize| status.counts(rule)[field] - self.counts[field];
                let wanted = |name: &str| expected.iter().find(|(field, _)| *field == name);
                FIELDS
                    .iter()
                    .enumerate()
                    .all(|(at, name)| since(at) == wanted(name).map_or(0, |(_, packets)| *packets))
            },
        )?;
        Ok(())
    }

    /// Returns how much a field of the rule has grown since.
    pub(in crate::acceptance) fn since(&self, field: &str) -> anyhow::Result<u64> {
        let status = self.site.wait_for("the status can be read", |_| true)?;
        let at = FIELDS.iter().position(|name| *name == field).unwrap_or(0);
        Ok(status.counts(self.rule)[at] - self.counts[at])
    }

    /// Returns how much a counter of `ethtool -S` has grown since; `None` if the driver has no such counter.
    pub(in crate::acceptance) fn driver(&self, counter: &str) -> Option<u64> {
        let now = statistics(self.site.lab.node(), &self.site.nic);
        Some(now.get(counter)? - self.statistics.get(counter).copied().unwrap_or(0))
    }

    /// Checks that the driver, if it has this counter, has counted the same number.
    pub(in crate::acceptance) fn driver_agrees(&self, counter: &str, packets: u64) -> anyhow::Result<()> {
        let seen = self.driver(counter);
        ensure!(
            seen.is_none_or(|seen| seen == packets),
            "{counter} has grown by {seen:?}, and {packets} packets were sent"
        );
        Ok(())
    }
}

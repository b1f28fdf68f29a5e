//! The counters of rules, summed up by series.
//!
//! A node may have tens of thousands of rules with sixteen series each. A scrape holds numbers only: names
//! are read again while they are encoded.

#[cfg(test)]
pub(super) mod tests;

use std::{collections::BTreeMap, fmt};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use xdp_plan::installed::RuleLabel;

use super::{
    kernel::{counter, gauges},
    series::{Detail, RuleKey, RuleLimits, details, shares},
};
use crate::{
    datapath::{OpenError, Pinned},
    report::status::PacketCount,
};

/// The values of the label `action`.
const ACTIONS: [&str; 8] = [
    "redirected",
    "passed",
    "dropped",
    "rejected",
    "limited",
    "audited",
    "fell_back",
    "delivered",
];

/// The counters of a rule, by action.
pub(super) type RuleCounts = [PacketCount; ACTIONS.len()];

/// The rules of a node, by number.
pub(super) trait RuleTable {
    /// Returns the upper bound of numbers.
    fn len(&self) -> u32;
    /// Reads the names of a rule, if there is one with this number.
    fn label(&self, rule: u32) -> Option<RuleLabel>;
    /// Reads the counters of a rule.
    fn counts(&self, rule: u32) -> Result<RuleCounts, OpenError>;
}

impl RuleTable for Pinned {
    fn len(&self) -> u32 {
        self.rule_capacity()
    }

    fn label(&self, rule: u32) -> Option<RuleLabel> {
        self.rule_label(rule)
    }

    fn counts(&self, rule: u32) -> Result<RuleCounts, OpenError> {
        let counters = self.rule_counters(rule)?;
        let counts = [
            counters.redirected,
            counters.passed,
            counters.dropped,
            counters.rejected,
            counters.limited,
            counters.audited,
            counters.fell_back,
            self.delivered(rule)?,
        ];
        Ok(counts.map(PacketCount::from))
    }
}

/// The series of all rules.
pub(super) struct RuleSeries {
    table: Box<dyn RuleTable + Send + Sync>,
    namespaces: Vec<String>,
    series: Vec<SummedRules>,
    /// Rules that lack a name of their own, by namespace.
    unnamed: BTreeMap<u32, i64>,
}

/// The rules of one series: a rule for its names, and the sum of all.
struct SummedRules {
    key: RuleKey,
    detail: Detail,
    rule: u32,
    counts: RuleCounts,
}

impl fmt::Debug for RuleSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSeries")
            .field("series", &self.series.len())
            .finish_non_exhaustive()
    }
}

impl RuleSeries {
    /// Reads the counters of all rules.
    pub(super) fn read(
        table: Box<dyn RuleTable + Send + Sync>,
        limits: RuleLimits,
    ) -> Result<Self, OpenError> {
        let (namespaces, rules) = keys(&*table);
        let only_keys: Vec<RuleKey> = rules.iter().map(|(key, _)| *key).collect();
        let details = details(&only_keys, limits);
        drop(only_keys);
        let mut all = Self {
            table,
            namespaces,
            series: Vec::new(),
            unnamed: BTreeMap::new(),
        };
        let named = if limits.rule_label {
            Detail::Rule
        } else {
            Detail::Policy
        };
        for ((key, _), detail) in rules.iter().zip(&details) {
            *all.unnamed.entry(key.namespace()).or_default() += i64::from(*detail < named);
        }
        all.sum(&rules, &details)?;
        Ok(all)
    }

    fn sum(&mut self, rules: &[(RuleKey, u32)], details: &[Detail]) -> Result<(), OpenError> {
        let mut last: Option<SummedRules> = None;
        for ((key, rule), detail) in rules.iter().zip(details) {
            let counts = self.table.counts(*rule)?;
            match &mut last {
                Some(sum) if shares((sum.key, sum.detail), (*key, *detail)) => add(&mut sum.counts, &counts),
                _ => {
                    let next = SummedRules {
                        key: *key,
                        detail: *detail,
                        rule: *rule,
                        counts,
                    };
                    self.series.extend(last.replace(next));
                }
            }
        }
        self.series.extend(last);
        Ok(())
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Packets that a rule decided, by action.";
        self.counters(encoder, ("rule_packets", help), |count| count.packets)?;
        let help = "Bytes of the packets that a rule decided, by action.";
        self.counters(encoder, ("rule_bytes", help), |count| count.bytes)?;
        let help = "Rules whose counters are summed up, because their namespace has more than its part.";
        let unnamed = self.unnamed.iter().filter_map(|(namespace, rules)| {
            let name = self.namespaces.get(*namespace as usize)?;
            Some(([("namespace", name.as_str())], *rules))
        });
        gauges(encoder, "rules_without_series", help, unnamed)
    }

    fn counters(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: fn(&PacketCount) -> u64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for sum in &self.series {
            let Some(label) = self.names(sum) else { continue };
            for (action, count) in ACTIONS.into_iter().zip(&sum.counts) {
                let labels = [
                    ("namespace", label.namespace.as_str()),
                    ("policy", &label.policy),
                    ("rule", &label.rule),
                    ("action", action),
                ];
                counter(family.encode_family(&labels)?, value(count))?;
            }
        }
        Ok(())
    }

    /// Reads the names of a series again. Returns `None` if the number belongs to another rule by now.
    fn names(&self, sum: &SummedRules) -> Option<RuleLabel> {
        let namespace = self.namespaces.get(sum.key.namespace() as usize)?;
        let mut label = self.table.label(sum.rule)?;
        if label.namespace != *namespace || RuleKey::new(sum.key.namespace(), &label) != sum.key {
            return None;
        }
        if sum.detail < Detail::Rule {
            label.rule.clear();
        }
        if sum.detail < Detail::Policy {
            label.policy.clear();
        }
        Some(label)
    }
}

/// Reads which rules there are: the names of namespaces, and the sorted rules with their numbers.
fn keys(table: &dyn RuleTable) -> (Vec<String>, Vec<(RuleKey, u32)>) {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut rules = Vec::new();
    for rule in 0..table.len() {
        let Some(label) = table.label(rule) else { continue };
        let next = numbers.len() as u32;
        let namespace = match numbers.get(&label.namespace) {
            Some(number) => *number,
            None => *numbers.entry(label.namespace.clone()).or_insert(next),
        };
        rules.push((RuleKey::new(namespace, &label), rule));
    }
    rules.sort_unstable();
    let mut namespaces = vec![String::new(); numbers.len()];
    for (name, number) in numbers {
        if let Some(place) = namespaces.get_mut(number as usize) {
            *place = name;
        }
    }
    (namespaces, rules)
}

fn add(sum: &mut RuleCounts, counts: &RuleCounts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        sum.packets = sum.packets.wrapping_add(count.packets);
        sum.bytes = sum.bytes.wrapping_add(count.bytes);
    }
}

//! Decides which rules have series of their own.
//!
//! Each namespace has its part of all series for sure. What a namespace does not use is for the others. In a
//! namespace with more rules than its part, rules are summed up by policy; with more policies than its part,
//! further policies are summed up, too.

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use xdp_plan::{fair::max_min, installed::RuleLabel};

/// How many rules of a node have series of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLimits {
    /// Names of all rules and sums.
    pub total: usize,
    /// Names of one namespace's rules and sums.
    pub per_namespace: usize,
    /// Whether rules have names. Without, they are summed up by policy.
    pub rule_label: bool,
}

/// A rule among those of a node. Hashes stand for names, because tens of thousands of names take memory. Two
/// names of one namespace with the same hash would share a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleKey {
    namespace: u32,
    policy: u64,
    rule: u64,
}

impl RuleKey {
    /// Names a rule of the namespace with this number.
    pub(super) fn new(namespace: u32, label: &RuleLabel) -> Self {
        Self {
            namespace,
            policy: hash(&label.policy),
            rule: hash(&label.rule),
        }
    }

    pub(super) const fn namespace(self) -> u32 {
        self.namespace
    }
}

fn hash(name: &str) -> u64 {
    // With a constant key, so that each node and each scrape selects the same rules.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Which names the series of a rule carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// The series is the sum of policies of the namespace.
    Namespace,
    /// The series is the sum of rules of the policy.
    Policy,
    /// The series is that of the rule.
    Rule,
}

/// Returns whether two rules share a series.
pub(super) fn shares(a: (RuleKey, Detail), b: (RuleKey, Detail)) -> bool {
    a.1 == b.1
        && a.0.namespace == b.0.namespace
        && (a.1 < Detail::Policy || a.0.policy == b.0.policy)
        && (a.1 < Detail::Rule || a.0.rule == b.0.rule)
}

/// Returns which names the series of each rule carries. The rules must be sorted: rules that share a series
/// are neighbours.
pub(super) fn details(rules: &[RuleKey], limits: RuleLimits) -> Vec<Detail> {
    let namespaces: Vec<&[RuleKey]> = rules.chunk_by(|a, b| a.namespace == b.namespace).collect();
    let wanted: Vec<usize> = namespaces
        .iter()
        .map(|own| names(own, limits.rule_label).min(limits.per_namespace).max(1))
        .collect();
    let parts = max_min(limits.total, &wanted);
    let mut details = Vec::with_capacity(rules.len());
    for (own, part) in namespaces.into_iter().zip(parts) {
        namespace_details(own, part.max(1), limits.rule_label, &mut details);
    }
    details
}

/// Counts the series that a namespace would have without limits.
fn names(own: &[RuleKey], rule_label: bool) -> usize {
    if rule_label {
        own.chunk_by(|a, b| a == b).count()
    } else {
        policies(own)
    }
}

fn policies(own: &[RuleKey]) -> usize {
    own.chunk_by(|a, b| a.policy == b.policy).count()
}

fn namespace_details(own: &[RuleKey], part: usize, rule_label: bool, details: &mut Vec<Detail>) {
    let policies = policies(own);
    let named = if !rule_label {
        0
    } else if names(own, true) <= part {
        usize::MAX
    } else {
        // Each policy may need a sum.
        part.saturating_sub(policies)
    };
    let summed = if policies <= part { policies } else { part - 1 };
    let mut name = 0;
    for (position, policy) in own.chunk_by(|a, b| a.policy == b.policy).enumerate() {
        for same in policy.chunk_by(|a, b| a == b) {
            let detail = if name < named {
                Detail::Rule
            } else if position < summed {
                Detail::Policy
            } else {
                Detail::Namespace
            };
            details.extend(same.iter().map(|_| detail));
            name += 1;
        }
    }
}

//! Limits: which pods and policies fit, decided the same way every time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use xdp_core::tables::{MAX_ADDRESSES, MAX_ENTRIES, MAX_RULES, MAX_SLOTS};

use crate::installed::RuleLabel;
use crate::policy::{Policy, entries_needed};
use crate::report::Problem;
use crate::targets::{Target, Targets};

/// What fits.
#[derive(Default)]
pub(super) struct Accepted<'a> {
    /// Targets, in order.
    pub(super) targets: Vec<&'a Target>,
    /// Policies (namespace, name) whose rules are used.
    pub(super) policies: BTreeSet<(&'a str, &'a str)>,
    /// Rules with counters.
    pub(super) rules: BTreeSet<RuleLabel>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn accept(all: &Targets) -> Accepted<'_> {
    let mut accepted = Accepted::default();
    accepted.take_targets(&all.targets);
    let (used, unused): (Vec<_>, Vec<_>) = all.policies.iter().partition(|policy| accepted.is_used(policy));
    accepted.take_policies(&used);
    for policy in unused {
        accepted.keep_counters(policy);
    }
    accepted
}

impl<'a> Accepted<'a> {
    fn take_targets(&mut self, targets: &'a [Target]) {
        let mut addresses = BTreeSet::<IpAddr>::new();
        for target in targets {
            if self.targets.len() >= MAX_SLOTS as usize {
                self.problems
                    .push(pod_limit(target, "MAX_SLOTS", MAX_SLOTS, "target pods"));
            } else if addresses.len() + target.addresses.len() > MAX_ADDRESSES as usize {
                let counted = "addresses of target pods";
                self.problems
                    .push(pod_limit(target, "MAX_ADDRESSES", MAX_ADDRESSES, counted));
            } else {
                addresses.extend(&target.addresses);
                self.targets.push(target);
            }
        }
    }

    fn is_used(&self, policy: &Arc<Policy>) -> bool {
        self.targets
            .iter()
            .any(|target| target.policies.iter().any(|other| Arc::ptr_eq(policy, other)))
    }

    fn take_policies(&mut self, policies: &[&'a Arc<Policy>]) {
        let mut lengths = vec![0; self.targets.len()];
        for policy in policies {
            let size = entries_needed(&policy.rules);
            let selected: Vec<usize> = self
                .targets
                .iter()
                .enumerate()
                .filter(|(_, target)| target.policies.iter().any(|other| Arc::ptr_eq(policy, other)))
                .map(|(index, _)| index)
                .collect();
            if let Some(full) = selected
                .iter()
                .find(|index| lengths[**index] + size > MAX_ENTRIES)
            {
                let problem = entry_limit(policy, self.targets[*full], lengths[*full], size);
                self.problems.push(problem);
            } else if self.rules.len() + policy.rules.len() > MAX_RULES as usize {
                self.problems.push(rule_limit(policy, self.rules.len()));
            } else {
                for index in selected {
                    lengths[index] += size;
                }
                self.policies.insert((&policy.namespace, &policy.name));
                self.rules.extend(labels(policy));
            }
        }
    }

    /// The counters of a policy stay while its pods come and go, and show zero before the first one comes.
    fn keep_counters(&mut self, policy: &Policy) {
        if self.rules.len() + policy.rules.len() <= MAX_RULES as usize {
            self.rules.extend(labels(policy));
        }
    }
}

fn labels(policy: &Policy) -> impl Iterator<Item = RuleLabel> {
    policy.rules.iter().map(|rule| RuleLabel {
        namespace: policy.namespace.clone(),
        policy: policy.name.clone(),
        rule: rule.name.clone(),
    })
}

fn pod_limit(target: &Target, limit: &str, value: u32, counted: &str) -> Problem {
    Problem::new(
        target.pod.to_string(),
        limit,
        format!(
            "the limit {limit} is {value} {counted} per node, and is reached; no rule applies to this pod"
        ),
        "select fewer pods, or spread them over more nodes",
    )
}

fn entry_limit(policy: &Policy, target: &Target, used: usize, size: usize) -> Problem {
    Problem::new(
        policy.to_string(),
        "MAX_ENTRIES",
        format!(
            "the limit MAX_ENTRIES is {MAX_ENTRIES} entries per pod: {} has {used} from policies that come earlier, and \
             this policy takes {size} more; it is refused whole on this node",
            target.pod
        ),
        "use fewer rules, or fewer ports and larger networks (a rule takes peers × ports entries, and one per except)",
    )
}

fn rule_limit(policy: &Policy, used: usize) -> Problem {
    Problem::new(
        policy.to_string(),
        "MAX_RULES",
        format!(
            "the limit MAX_RULES is {MAX_RULES} rules per node: policies that come earlier have {used}, and this one \
             has {} more; it is refused whole on this node",
            policy.rules.len()
        ),
        "use fewer rules, or select pods on fewer nodes",
    )
}

//! Identifies the content of policies by numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::sources::blocks;
use crate::{
    installed::RuleLabel,
    policy::{Policy, PortSet, Protocol, Rule, Sources},
};

/// Labels of a policy's rules, in order.
pub(super) type Labels = Arc<[Arc<RuleLabel>]>;

/// The content of a policy, which never changes.
#[derive(Debug)]
pub(super) struct Known {
    /// Number of the content. It is unique.
    pub(super) number: u64,
    pub(super) policy: Arc<Policy>,
    /// Labels of the rules. They are reused while the rules keep their names.
    pub(super) labels: Labels,
    /// Named ports in the rules.
    names: BTreeSet<(String, Protocol)>,
    /// Number of rules, networks and ports: what it takes at least to compile the policy.
    pub(super) size: usize,
}

fn size(rule: &Rule) -> usize {
    let networks = match &rule.from {
        Sources::Any => 1,
        Sources::Listed(listed) => blocks(listed).map(|block| 1 + block.except.len()).sum(),
    };
    1 + networks + rule.ports.len()
}

impl Known {
    pub(super) fn new(number: u64, policy: &Arc<Policy>, before: Option<&Self>) -> Self {
        let known: BTreeMap<&str, &Arc<RuleLabel>> = before
            .iter()
            .flat_map(|before| before.labels.iter())
            .map(|label| (label.rule.as_str(), label))
            .collect();
        let label = |rule: &Rule| match known.get(rule.name.as_str()) {
            Some(label) => Arc::clone(label),
            None => Arc::new(RuleLabel {
                namespace: policy.namespace.clone(),
                policy: policy.name.clone(),
                rule: rule.name.clone(),
            }),
        };
        let before = before.map(|before| &before.labels).filter(|labels| {
            let names = labels.iter().map(|label| &label.rule);
            names.eq(policy.rules.iter().map(|rule| &rule.name))
        });
        let labels = before.cloned();
        let ports = policy.rules.iter().flat_map(|rule| &rule.ports);
        let names = ports.filter_map(|port| match &port.ports {
            PortSet::Named(name) => Some((name.clone(), port.protocol)),
            PortSet::Any | PortSet::Range(_) | PortSet::Icmp { .. } => None,
        });
        Self {
            number,
            labels: labels.unwrap_or_else(|| policy.rules.iter().map(label).collect()),
            names: names.collect(),
            size: policy.rules.iter().map(size).sum(),
            policy: Arc::clone(policy),
        }
    }

    /// Returns whether this is the content of `policy`.
    pub(super) fn is(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, policy) || self.policy == *policy
    }

    /// Returns the numbers of the named ports in a pod.
    pub(super) fn ports<'a>(
        &'a self,
        named: &'a BTreeMap<(String, Protocol), u16>,
    ) -> impl Iterator<Item = Option<u16>> + 'a {
        self.names.iter().map(|name| named.get(name).copied())
    }
}

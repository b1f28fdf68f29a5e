//! Policies, told apart by a number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::installed::RuleLabel;
use crate::policy::{Policy, PortSet, Protocol};

/// A policy's content, which never changes.
#[derive(Debug)]
pub(super) struct Known {
    /// No other content has it.
    pub(super) number: u64,
    pub(super) policy: Arc<Policy>,
    /// Of its rules, in order.
    pub(super) labels: Vec<Arc<RuleLabel>>,
    /// Names of ports in its rules.
    names: BTreeSet<(String, Protocol)>,
}

impl Known {
    pub(super) fn new(number: u64, policy: &Arc<Policy>) -> Self {
        let label = |rule: &crate::policy::Rule| {
            Arc::new(RuleLabel {
                namespace: policy.namespace.clone(),
                policy: policy.name.clone(),
                rule: rule.name.clone(),
            })
        };
        let ports = policy.rules.iter().flat_map(|rule| &rule.ports);
        let names = ports.filter_map(|port| match &port.ports {
            PortSet::Named(name) => Some((name.clone(), port.protocol)),
            PortSet::Any | PortSet::Range(_) | PortSet::Icmp { .. } => None,
        });
        Self {
            number,
            labels: policy.rules.iter().map(label).collect(),
            names: names.collect(),
            policy: Arc::clone(policy),
        }
    }

    /// Whether it is this policy's content.
    pub(super) fn is(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, policy) || self.policy == *policy
    }

    /// What a pod gives the names of ports.
    pub(super) fn ports<'a>(
        &'a self,
        named: &'a BTreeMap<(String, Protocol), u16>,
    ) -> impl Iterator<Item = Option<u16>> + 'a {
        self.names.iter().map(|name| named.get(name).copied())
    }
}

//! Policies as users write them, with the identities of their sources.

use xdp_crds::policy::{Policy, Rule, SetId};

/// A policy whose sources may select pods, and the sets with the addresses of these pods. An identity is a
/// hash: it is computed once for each version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPolicy {
    pub(super) policy: Policy,
    /// One set for each source that selects pods, in the order of rules and sources.
    pub(super) sets: Vec<SetId>,
}

impl WrittenPolicy {
    /// Returns the policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl From<Policy> for WrittenPolicy {
    fn from(policy: Policy) -> Self {
        let sources = policy.rules.iter().flat_map(Rule::pod_sources);
        let sets = sources.map(|source| source.selection(&policy.namespace).id());
        let sets = sets.collect();
        Self { policy, sets }
    }
}

//! What `NetworkPolicies` and the like mean for the pods of this node, from the cache.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use xdp_crds::policy::SetId;
use xdp_plan::{
    network_policy::{EvaluatedPods, KnownSets, NodeCertainty, apply_consent},
    pod::Pod,
    policy::{NetworkPolicyMode, Policy},
    resolve::{NodePolicy, WrittenPolicy},
};

use crate::source::cluster::cache::Cache;

/// What is kept between reconciles.
pub(super) struct Restrictions {
    /// The administrator allows `networkPolicy: Ignore`.
    allow_ignore: bool,
    certainty: NodeCertainty,
    sets: KnownSets,
    /// The policies to program: while the newest version of one is not complete, an earlier one.
    last: Vec<Arc<Policy>>,
}

impl Restrictions {
    pub(super) fn new(allow_ignore: bool) -> Self {
        Self {
            allow_ignore,
            certainty: NodeCertainty::default(),
            sets: KnownSets::default(),
            last: Vec::new(),
        }
    }

    /// Finds the policies that select pods with rules that redirect. Returns whether that changes the
    /// watches.
    pub(super) fn select(&mut self, cache: &mut Cache, now: Instant) -> bool {
        let changed = cache.want_network_policies(now);
        let newest = cache
            .policies(now)
            .filter_map(|version| version.content.as_ref().ok());
        let newest = newest.map(WrittenPolicy::policy);
        let mut redirecting = BTreeMap::<&str, Vec<&Policy>>::new();
        for policy in newest.chain(self.last.iter().map(AsRef::as_ref)) {
            let ignores = self.allow_ignore && policy.network_policy == NetworkPolicyMode::Ignore;
            if policy.redirects() && !ignores {
                redirecting.entry(&policy.namespace).or_default().push(policy);
            }
        }
        let concerns = |pod: &&Pod| {
            let policies = redirecting.get(pod.namespace.as_str());
            let mut policies = policies.into_iter().flatten();
            let is_selected = policies.any(|policy| policy.selector.matches(&pod.labels));
            // A pod to which no rule redirects any more may drain.
            pod.owns_addresses() && (is_selected || self.certainty.knows(pod))
        };
        let pods: Vec<&Pod> = cache.pods().filter(concerns).collect();
        self.certainty
            .select(pods, &cache.network.policies(), &cache.namespaces());
        changed
    }

    /// Returns the sets that evaluation needs.
    pub(super) fn needed(&self) -> BTreeSet<SetId> {
        self.certainty.needed()
    }

    /// Applies the administrator's consent to the policies to program.
    pub(super) fn program(&mut self, policies: &mut [Arc<Policy>], node_policies: &mut [NodePolicy]) {
        apply_consent(policies, node_policies, self.allow_ignore);
        self.last = policies.to_vec();
    }

    /// Evaluates what restricts the selected pods.
    pub(super) fn evaluate(&mut self, cache: &Cache) -> EvaluatedPods {
        self.sets.update(cache.slices());
        self.certainty.evaluate(&self.sets, &cache.namespaces())
    }
}

//! The objects of a directory of manifests. There is no operator: no set of pods' addresses is known.

use std::sync::Arc;

use xdp_plan::{
    network_policy::{
        ClusterAddresses, EvaluatedPods, IgnoredKind, KnownPolicy, KnownSets, NodeCertainty, NodePolicies,
        apply_consent,
    },
    permission,
    pod::Pod,
    policy::{Policy, RedirectNamespaces},
    report::Problem,
    resolve::{NodePolicy, without_cluster},
};

use crate::{
    args::RightsArgs,
    source::{ManifestSource, Objects},
};

/// A directory of manifests, and what the administrator allows.
pub(crate) struct Manifests {
    source: ManifestSource,
    permitted: RedirectNamespaces,
    allow_ignore: bool,
    ignored: Vec<IgnoredKind>,
    certainty: NodeCertainty,
}

impl Manifests {
    pub(crate) fn new(source: ManifestSource, rights: &RightsArgs) -> Self {
        Self {
            source,
            permitted: rights.redirect_namespaces.clone(),
            allow_ignore: rights.allow_ignore_network_policy,
            ignored: rights.ignored_network_policy_kinds.clone(),
            certainty: NodeCertainty::default(),
        }
    }

    /// Reads what has changed, or everything if `all`. Returns the problems.
    pub(super) fn reload(&mut self, all: bool) -> Vec<Problem> {
        self.source.reload(all)
    }

    pub(super) fn objects(&mut self) -> Objects {
        let (policies, pods) = self.source.objects();
        let (mut policies, mut problems) = without_cluster(policies);
        let namespaces = permission::without_cluster(&self.source.namespaces(), &policies);
        permission::apply(&mut policies, &mut [], &self.permitted, &namespaces);
        apply_consent(&mut policies, &mut [], self.allow_ignore);
        let mut network_policies = self.source.network_policies();
        network_policies.retain(|policy| !self.ignored.contains(&IgnoredKind(policy.name().kind)));
        problems.extend(network_policies.iter().filter_map(unreadable));
        let concerned = pods.iter().map(AsRef::as_ref).filter(|pod| {
            let mut policies = policies.iter();
            let is_selected = policies.any(|policy| policy.is_restricted() && selects(policy, pod));
            // A pod to which no rule redirects any more may drain.
            is_selected || self.certainty.knows(pod)
        });
        let concerned: Vec<&Pod> = concerned.collect();
        self.certainty
            .select(concerned, &known(&network_policies), &namespaces);
        let sets = KnownSets::fixed(ClusterAddresses::around(&pods));
        let EvaluatedPods { certainty, pending } = self.certainty.evaluate(&sets, &namespaces);
        let node_policies: Vec<NodePolicy> = policies.iter().map(as_written).collect();
        problems.extend(permission::problems(&node_policies, &pods));
        Objects {
            policies,
            pods,
            node_policies,
            problems,
            certainty,
            unfinished: pending,
        }
    }
}

fn selects(policy: &Policy, pod: &Pod) -> bool {
    pod.owns_addresses() && policy.namespace == pod.namespace && policy.selector.matches(&pod.labels)
}

fn known(network_policies: &[KnownPolicy]) -> NodePolicies<'_> {
    let mut known = NodePolicies::default();
    for policy in network_policies {
        match policy.name().namespace.as_deref() {
            Some(namespace) => known.of_namespaces.entry(namespace).or_default().push(policy),
            None => known.of_cluster.push(policy),
        }
    }
    known
}

fn unreadable(policy: &KnownPolicy) -> Option<Problem> {
    match policy {
        KnownPolicy::Unreadable(error) => Some(Problem::from(&**error)),
        KnownPolicy::Ingress(_) | KnownPolicy::Foreign(_) => None,
    }
}

fn as_written(policy: &Arc<Policy>) -> NodePolicy {
    NodePolicy {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        policy: Some(Arc::clone(policy)),
        obstacle: None,
    }
}

//! `NetworkPolicies` and the like in the cache: which are wanted, and which concern this node.

use std::{collections::BTreeSet, time::Instant};

use xdp_client::{
    object::{ObjectName, Versioned},
    watch::Event,
};
use xdp_crds::network_policy::PolicyKind;
use xdp_plan::network_policy::KnownPolicy;

use super::Cache;

impl Cache {
    /// Wants `NetworkPolicies` and the like of the namespaces that have pods here and a policy. Returns
    /// whether that changes the watches.
    pub(in crate::source::cluster) fn want_network_policies(&mut self, now: Instant) -> bool {
        if !self.pods.is_complete() || !self.policies.is_ready() {
            return false;
        }
        let with_policy = self.policies.names().map(|name| name.namespace.as_str());
        let with_policy: BTreeSet<&str> = with_policy.collect();
        let here = self.pods().filter(|pod| pod.owns_addresses());
        let wanted = here.map(|pod| &pod.namespace);
        let wanted = wanted.filter(|name| with_policy.contains(name.as_str())).cloned();
        let changed = self.network.want(&wanted.collect(), now);
        self.network.advance(self.namespaces.unknown().0 == 0, now);
        changed
    }

    /// Applies an event of a watch of `NetworkPolicies` or the like. Returns whether that concerns a pod of
    /// this node.
    pub(in crate::source::cluster) fn apply_network_policy(
        &mut self,
        (kind, id): (PolicyKind, u64),
        event: Event<Versioned<KnownPolicy>>,
        now: Instant,
    ) -> bool {
        let namespaces = self.namespaces.objects();
        let labels = |namespace: &str| namespaces.get(&ObjectName::new("", namespace)).copied();
        let pods = &self.pods;
        let concerns = |policy: &KnownPolicy| {
            let of_policy = policy.name().namespace.as_deref();
            let (one, all) = match of_policy {
                Some(namespace) => (Some(pods.within(namespace, "")), None),
                None => (None, Some(pods.iter())),
            };
            let pods = one.into_iter().flatten().chain(all.into_iter().flatten());
            let mut pods = pods
                .filter_map(|(_, pod)| pod.as_ref().ok())
                .filter(|pod| pod.owns_addresses());
            pods.any(|pod| policy.may_select(pod, labels(&pod.namespace)))
        };
        self.network.apply((kind, id), event, now, concerns)
    }
}

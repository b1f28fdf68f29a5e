//! Selection of pods.

use std::{collections::BTreeMap, net::IpAddr};

use xdp_client::object::ObjectName;
use xdp_crds::policy::{PodSource, Policy};

use crate::store::ClusterState;

/// Counts the pods that a policy selects, by node. Contains only nodes that the policy selects and that run
/// such a pod.
pub fn targets<'a>(cluster: &'a ClusterState, policy: &Policy) -> BTreeMap<&'a str, u32> {
    let mut found = BTreeMap::new();
    for (_, pod) in cluster.pods.within(&policy.namespace, "") {
        if pod.is_addressable() && policy.selector.matches(&pod.labels) {
            *found.entry(pod.node.as_str()).or_default() += 1;
        }
    }
    found.retain(|node, _| {
        let node = cluster.nodes.get(&ObjectName::new("", *node));
        node.is_some_and(|node| policy.node_selector.matches(&node.labels))
    });
    found
}

/// Returns the addresses of the pods that a peer of a policy in `namespace` selects, sorted and without
/// duplicates.
pub fn addresses(cluster: &ClusterState, namespace: &str, peer: &PodSource) -> Vec<IpAddr> {
    let namespaces = cluster
        .namespaces
        .iter()
        .filter(|(name, labels)| match &peer.namespaces {
            Some(selector) => selector.matches(labels),
            None => name.name == namespace,
        });
    let mut found: Vec<_> = namespaces
        .flat_map(|(name, _)| cluster.pods.within(&name.name, ""))
        .filter(|(_, pod)| pod.is_addressable() && peer.pods.matches(&pod.labels))
        .flat_map(|(_, pod)| pod.addresses.iter().copied())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

//! Which pods are meant.

use std::{collections::BTreeMap, net::IpAddr};

use xdp_client::object::ObjectName;
use xdp_crds::policy::{PodSource, Policy};

use crate::world::World;

/// How many pods a policy selects on each node where it applies. Nodes without selected pods are not listed.
pub fn targets<'a>(world: &'a World, policy: &Policy) -> BTreeMap<&'a str, u32> {
    let mut found = BTreeMap::new();
    for (_, pod) in world.pods.within(&policy.namespace, "") {
        if pod.is_addressable() && policy.selector.matches(&pod.labels) {
            *found.entry(pod.node.as_str()).or_default() += 1;
        }
    }
    found.retain(|node, _| {
        let node = world.nodes.get(&ObjectName::new("", *node));
        node.is_some_and(|node| policy.node_selector.matches(&node.labels))
    });
    found
}

/// The addresses of the pods that a peer of a policy in `namespace` selects, in order and without repetition.
pub fn addresses(world: &World, namespace: &str, peer: &PodSource) -> Vec<IpAddr> {
    let meant = world
        .namespaces
        .iter()
        .filter(|(name, labels)| match &peer.namespaces {
            Some(selector) => selector.matches(labels),
            None => name.name == namespace,
        });
    let mut found: Vec<_> = meant
        .flat_map(|(name, _)| world.pods.within(&name.name, ""))
        .filter(|(_, pod)| pod.is_addressable() && peer.pods.matches(&pod.labels))
        .flat_map(|(_, pod)| pod.addresses.iter().copied())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

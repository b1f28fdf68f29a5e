//! Finds target pods and the interfaces that carry their addresses.

mod find;

use std::{net::IpAddr, sync::Arc};

use crate::{
    facts::{NodeFacts, Pair},
    pod::Pod,
    policy::Policy,
    report::Problem,
};

/// The targets of all policies on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Sorted by namespace, name and ifindex. A pod with addresses on several interfaces has one target per
    /// interface.
    pub targets: Vec<Target>,
    /// All policies in their order, including those without a target on this node.
    pub policies: Vec<Arc<Policy>>,
    /// Selected pods that cannot be targets, and objects that are given twice.
    pub problems: Vec<Problem>,
}

/// A target pod's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The veth pair whose pod end carries the addresses.
    pub pair: Pair,
    /// The pod's addresses that this pair carries and no other pair does. Sorted.
    pub addresses: Vec<IpAddr>,
    /// Policies that select the pod, in their order.
    pub policies: Vec<Arc<Policy>>,
    /// Whether a policy redirects with `delivery: Redirect`. Only then the interface is prepared for this
    /// delivery.
    pub wants_redirect: bool,
    /// Whether a policy redirects with `delivery: Peer`. Only then the interface is prepared for this
    /// delivery.
    pub wants_peer: bool,
}

/// Matches policies and pods with the veth pairs of the node.
pub fn targets<P, Q>(policies: &[P], pods: &[Q], facts: &NodeFacts) -> Targets
where
    P: Clone + Into<Arc<Policy>>,
    Q: Clone + Into<Arc<Pod>>,
{
    let policies: Vec<Arc<Policy>> = policies.iter().cloned().map(Into::into).collect();
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Into::into).collect();
    find::find(&policies, &pods, facts)
}

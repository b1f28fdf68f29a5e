//! Which pods are targets, and through which interface.

mod find;

use std::{net::IpAddr, sync::Arc};

use crate::{
    facts::{NodeFacts, Pair},
    pod::Pod,
    policy::Policy,
    report::Problem,
};

/// What policies mean on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// In order of namespace, name and ifindex. A pod with addresses on several interfaces is here once per interface.
    pub targets: Vec<Target>,
    /// All policies in force, in order, those without a target on this node included.
    pub policies: Vec<Arc<Policy>>,
    /// Pods that are selected but cannot be targets, objects given twice.
    pub problems: Vec<Problem>,
}

/// A pod's interface that packets may be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The pair that carries its addresses.
    pub pair: Pair,
    /// Those of the pod's addresses that this pair, and no other, carries. Sorted.
    pub addresses: Vec<IpAddr>,
    /// Policies that select it, in order.
    pub policies: Vec<Arc<Policy>>,
    /// Whether any of them redirects with `delivery: Redirect`: only then its interface must be made ready for it.
    pub wants_redirect: bool,
    /// Whether any of them redirects with `delivery: Peer`: the same.
    pub wants_peer: bool,
}

/// Matches policies, pods and what the kernel says about the node.
pub fn targets<P, Q>(policies: &[P], pods: &[Q], facts: &NodeFacts) -> Targets
where
    P: Clone + Into<Arc<Policy>>,
    Q: Clone + Into<Arc<Pod>>,
{
    let policies: Vec<Arc<Policy>> = policies.iter().cloned().map(Into::into).collect();
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Into::into).collect();
    find::find(&policies, &pods, facts)
}

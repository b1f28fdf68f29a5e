//! Finds target pods and the interfaces that carry their addresses.

mod carrier;
mod find;
mod problem;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

pub use carrier::Holders;

use crate::{
    facts::{NodeFacts, Pair, WantedAddresses},
    network_policy::CertainTraffic,
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
    /// What an administrator should know although rules apply: addresses that other interfaces carry, too.
    pub notes: Vec<Problem>,
}

/// The packets that policies such as NetworkPolicies certainly allow, by namespace and name of the pod.
pub type PodCertainty = BTreeMap<(String, String), Arc<CertainTraffic>>;

/// A target pod's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The veth pair whose pod end carries the addresses.
    pub pair: Pair,
    /// The pod's addresses that this pair carries. Sorted.
    pub addresses: Vec<IpAddr>,
    /// Why it is not certain that these addresses belong to this pair: rules apply, and none redirects.
    pub doubt: Option<String>,
    /// The packets that policies such as NetworkPolicies certainly allow: only these are redirected.
    pub certain: Arc<CertainTraffic>,
    /// Policies that select the pod, in their order.
    pub policies: Vec<Arc<Policy>>,
    /// Whether a policy redirects with `delivery: Redirect`, and may. Only then the interface is prepared
    /// for this delivery.
    pub wants_redirect: bool,
    /// Whether a policy redirects with `delivery: Peer`, and may. Only then the interface is prepared for
    /// this delivery.
    pub wants_peer: bool,
    /// Whether a policy may drop packets. Only then, and for both deliveries, programs note the connections
    /// that the pod opens.
    pub wants_connections: bool,
}

impl Targets {
    /// Sets what policies certainly allow. Without an entry for its pod, a target stays as it is.
    pub fn restrict(&mut self, certainty: &PodCertainty) {
        for target in &mut self.targets {
            let pod = (target.pod.namespace.clone(), target.pod.name.clone());
            if let Some(certain) = certainty.get(&pod) {
                target.certain = Arc::clone(certain);
            }
        }
    }
}

impl Target {
    /// Returns whether a policy redirects to the pod, and may not. All policies of a pod are of its
    /// namespace, so they have the same permission.
    pub fn lacks_permission(&self) -> bool {
        self.policies.iter().any(|policy| policy.lacks_permission())
    }
}

/// Matches policies and pods with the veth pairs of the node. Nothing is installed yet.
pub fn targets<P, Q>(policies: &[P], pods: &[Q], facts: &NodeFacts) -> Targets
where
    P: Clone + Into<Arc<Policy>>,
    Q: Clone + Into<Arc<Pod>>,
{
    targets_with(policies, pods, facts, &Holders::default())
}

/// Matches policies and pods with the veth pairs of the node. `holders`: what the installed tables have.
pub fn targets_with<P, Q>(policies: &[P], pods: &[Q], facts: &NodeFacts, holders: &Holders) -> Targets
where
    P: Clone + Into<Arc<Policy>>,
    Q: Clone + Into<Arc<Pod>>,
{
    let policies: Vec<Arc<Policy>> = policies.iter().cloned().map(Into::into).collect();
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Into::into).collect();
    find::find(&policies, &pods, facts, holders)
}

/// Returns the addresses to look for on the node's pairs: those of selected pods, and those with a holder.
pub fn wanted(policies: &[Arc<Policy>], pods: &[Arc<Pod>], holders: &Holders) -> WantedAddresses {
    let selectors = find::Selectors::new(policies);
    let mut wanted: WantedAddresses = BTreeMap::new();
    let owning = pods.iter().filter(|pod| pod.owns_addresses());
    for pod in owning.clone().filter(|pod| selectors.select(pod)) {
        for address in &pod.addresses {
            wanted.entry(*address).or_default();
        }
    }
    for address in holders.addresses() {
        wanted.entry(address).or_default();
    }
    for pod in owning {
        for address in &pod.addresses {
            if let Some(claims) = wanted.get_mut(address) {
                claims.insert(pod.uid.clone());
            }
        }
    }
    wanted
}

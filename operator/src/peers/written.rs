//! The peers of a policy.

use xdp_client::object::ObjectName;
use xdp_crds::{
    Delivery, Enforcement, IngressRule, LabelSelector, Peer, PeerSelector, RuleAction, XdpPolicy,
    XdpPolicySpec,
    policy::{PodSource, Policy, Rule},
};

use crate::store::ClusterState;

/// Returns the peers with selectors of a policy, without duplicates.
pub(super) fn peers(policy: &Policy) -> Vec<PodSource> {
    let mut found: Vec<PodSource> = Vec::new();
    for peer in policy.rules.iter().flat_map(Rule::pod_sources) {
        if !found.iter().any(|other| other.written == peer.written) {
            found.push(peer.clone());
        }
    }
    found
}

/// Returns the peers of a refused policy, from its slices. Agents keep the last valid version programmed, so
/// its slices must stay up to date.
pub(super) fn stored(cluster: &ClusterState, policy: &ObjectName) -> Vec<PodSource> {
    let mut found: Vec<PodSource> = Vec::new();
    for (_, set) in cluster.peer_sets.within(&policy.namespace, "") {
        let owned = set.owner.as_ref().is_some_and(|owner| owner.name == policy.name);
        if let Some(spec) = set.spec.as_ref().filter(|_| owned)
            && !found.iter().any(|other| other.written == spec.peer)
        {
            found.extend(validated(&spec.peer));
        }
    }
    found
}

/// Validates the selectors of a peer as a part of a policy.
fn validated(peer: &PeerSelector) -> Option<PodSource> {
    let peer = Peer {
        ip_block: None,
        namespace_selector: peer.namespace_selector.clone(),
        pod_selector: peer.pod_selector.clone(),
    };
    let rule = IngressRule {
        name: "r".to_owned(),
        from: vec![peer],
        ports: Vec::new(),
        action: RuleAction::Pass,
        mark: None,
        rate_limit: None,
    };
    let spec = XdpPolicySpec {
        pod_selector: LabelSelector::default(),
        node_selector: None,
        priority: 0,
        enforcement: Enforcement::Enforce,
        delivery: Delivery::Redirect,
        ingress: vec![rule],
    };
    let policy = Policy::try_from(&XdpPolicy::new("p", spec)).ok()?;
    peers(&policy).pop()
}

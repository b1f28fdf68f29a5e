//! Which peers a policy has.

use xdp_client::object::ObjectName;
use xdp_crds::{
    Delivery, Enforcement, IngressRule, LabelSelector, Peer, PeerSelector, RuleAction, XdpPolicy,
    XdpPolicySpec,
    policy::{PodSource, Policy, Rule},
};

use crate::world::World;

/// The selector peers of a policy, each once.
pub(super) fn peers(policy: &Policy) -> Vec<PodSource> {
    let mut found: Vec<PodSource> = Vec::new();
    for peer in policy.rules.iter().flat_map(Rule::pod_sources) {
        if !found.iter().any(|other| other.written == peer.written) {
            found.push(peer.clone());
        }
    }
    found
}

/// The peers of a policy that is refused, as its slices remember them: agents keep its version before in force, whose
/// peers come and go as before.
pub(super) fn stored(world: &World, policy: &ObjectName) -> Vec<PodSource> {
    let mut found: Vec<PodSource> = Vec::new();
    for (_, set) in world.peer_sets.within(&policy.namespace, "") {
        let owned = set.owner.as_ref().is_some_and(|owner| owner.name == policy.name);
        if let Some(spec) = set.spec.as_ref().filter(|_| owned)
            && !found.iter().any(|other| other.written == spec.peer)
        {
            found.extend(validated(&spec.peer));
        }
    }
    found
}

/// A peer from its selectors, by the same rules as in a policy.
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

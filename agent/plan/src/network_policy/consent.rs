//! The administrator's consent to `networkPolicy: Ignore`.

use std::sync::Arc;

use crate::{
    policy::{NetworkPolicyMode, Policy},
    resolve::NodePolicy,
};

/// Makes policies honour `NetworkPolicies` whatever they say, unless the administrator allows otherwise.
pub fn apply_consent(policies: &mut [Arc<Policy>], node_policies: &mut [NodePolicy], allow_ignore: bool) {
    if allow_ignore {
        return;
    }
    let of_node = node_policies
        .iter_mut()
        .filter_map(|node_policy| node_policy.policy.as_mut());
    for policy in policies.iter_mut().chain(of_node) {
        if policy.network_policy == NetworkPolicyMode::Ignore {
            Arc::make_mut(policy).network_policy = NetworkPolicyMode::Honour;
        }
    }
}

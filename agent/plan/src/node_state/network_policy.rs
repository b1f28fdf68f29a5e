//! What `NetworkPolicies` and the like mean for the redirects of a policy.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use xdp_crds::{NetworkPolicyRestriction, NetworkPolicyState, limits};

use super::pods::PodStatus;
use crate::{
    network_policy::{NotCertain, NotCertainReason},
    policy::{NetworkPolicyMode, Policy},
    targets::PodCertainty,
};

/// Computes the state. `None`: no rule redirects.
pub(super) fn state(
    policy: &Policy,
    selected: &[&PodStatus<'_>],
    certainty: &PodCertainty,
) -> Option<NetworkPolicyState> {
    policy.redirects().then(|| NetworkPolicyState {
        honoured: policy.network_policy == NetworkPolicyMode::Honour,
        restrictions: if policy.is_restricted() {
            restrictions(selected, certainty)
        } else {
            Vec::new()
        },
    })
}

/// Returns the policies that restrict most of the pods, with the number of pods.
fn restrictions(selected: &[&PodStatus<'_>], certainty: &PodCertainty) -> Vec<NetworkPolicyRestriction> {
    let mut pods = BTreeMap::<&NotCertain, u32>::new();
    for status in selected {
        let name = (status.pod.namespace.clone(), status.pod.name.clone());
        let reasons = certainty.get(&name).map_or(&[][..], |certain| certain.reasons());
        for why in telling(reasons) {
            *pods.entry(why).or_default() += 1;
        }
    }
    let mut pods: Vec<(&NotCertain, u32)> = pods.into_iter().collect();
    pods.sort_by_key(|(_, count)| Reverse(*count));
    pods.truncate(limits::RESTRICTIONS);
    let restriction = |(why, pods): (&NotCertain, u32)| NetworkPolicyRestriction {
        policy: why.policy.to_string(),
        reason: why.reason.as_str().to_owned(),
        pods,
    };
    pods.into_iter().map(restriction).collect()
}

/// Returns the reasons of a pod, each once. Two of them hold for every pod that a policy selects, and are
/// left out if there is another.
fn telling(reasons: &[NotCertain]) -> BTreeSet<&NotCertain> {
    let tells = |why: &&NotCertain| {
        !matches!(
            why.reason,
            NotCertainReason::NodeAddress | NotCertainReason::Protocol
        )
    };
    let telling: BTreeSet<&NotCertain> = reasons.iter().filter(tells).collect();
    if telling.is_empty() {
        reasons.iter().collect()
    } else {
        telling
    }
}

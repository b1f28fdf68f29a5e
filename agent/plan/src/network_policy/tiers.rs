//! Evaluates the tiers for packets from one source to one port.

use xdp_crds::network_policy::{IngressPolicy, PolicyAction, PolicyTier};

use super::{NotCertainReason, lists::Match};

/// A rule that matches, or may match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// Index of the rule's policy.
    pub(super) policy: usize,
    pub(super) action: PolicyAction,
    pub(super) matched: Match,
}

/// Index of the policy because of which packets are not certainly allowed, and the reason.
pub(super) type Uncertain = (usize, NotCertainReason);

/// Evaluates all tiers. The policies are those that select the pod, in order of tiers and priorities; the
/// hits are in order of policies and rules.
pub(super) fn evaluate(policies: &[&IngressPolicy], hits: &[Hit]) -> Result<(), Uncertain> {
    let of_tier = |tier| {
        let start = hits.partition_point(|hit| policies[hit.policy].tier < tier);
        let end = hits.partition_point(|hit| policies[hit.policy].tier <= tier);
        &hits[start..end]
    };
    let admin = in_order(policies, of_tier(PolicyTier::Admin));
    if let Some(Err(uncertain)) = admin {
        return Err(uncertain);
    }
    // Also after an Accept: the engine in place may not implement the tiers, though their objects are there.
    let selecting = |policy: &&IngressPolicy| policy.tier == PolicyTier::NetworkPolicy;
    if let Some(first) = policies.iter().position(selecting) {
        return added_up(first, of_tier(PolicyTier::NetworkPolicy));
    }
    admin
        .or_else(|| in_order(policies, of_tier(PolicyTier::Baseline)))
        .unwrap_or(Ok(()))
}

/// Evaluates the policies of `networking.k8s.io/v1`, `first` being one that selects the pod.
fn added_up(first: usize, hits: &[Hit]) -> Result<(), Uncertain> {
    match hits.iter().max_by_key(|hit| hit.matched) {
        Some(Hit {
            matched: Match::Yes, ..
        }) => Ok(()),
        Some(Hit {
            policy,
            matched: Match::Maybe(reason),
            ..
        }) => Err((*policy, *reason)),
        _ => Err((first, NotCertainReason::NotAllowed)),
    }
}

/// Evaluates a tier whose policies have priorities. `None`: the next tier decides.
fn in_order(policies: &[&IngressPolicy], hits: &[Hit]) -> Option<Result<(), Uncertain>> {
    let priority = |hit: &Hit| policies[hit.policy].priority;
    for equal in hits.chunk_by(|one, other| priority(one) == priority(other)) {
        let of_policies = equal.chunk_by(|one, other| one.policy == other.policy);
        let actions = of_policies.filter_map(first_match).collect::<Result<Vec<_>, _>>();
        let actions = match actions {
            Ok(actions) => actions,
            Err(uncertain) => return Some(Err(uncertain)),
        };
        let Some(&(policy, action)) = actions.first() else {
            continue;
        };
        if let Some(differing) = actions.iter().find(|(_, other)| *other != action) {
            let strictest = if action == PolicyAction::Accept {
                differing.0
            } else {
                policy
            };
            return Some(Err((strictest, NotCertainReason::EqualPriorities)));
        }
        return match action {
            PolicyAction::Accept => Some(Ok(())),
            PolicyAction::Deny => Some(Err((policy, NotCertainReason::Denied))),
            PolicyAction::Pass => None,
        };
    }
    None
}

/// Returns the action of a policy's first rule that matches. Whether a rule that only may match is the first
/// is unknown: if it accepts, it allows no more than the rules after it do for certain; otherwise it may
/// deny.
fn first_match(hits: &[Hit]) -> Option<Result<(usize, PolicyAction), Uncertain>> {
    hits.iter().find_map(|hit| match (hit.matched, hit.action) {
        (Match::Yes, action) => Some(Ok((hit.policy, action))),
        (Match::Maybe(reason), PolicyAction::Deny | PolicyAction::Pass) => Some(Err((hit.policy, reason))),
        (Match::Maybe(_), PolicyAction::Accept) | (Match::No, _) => None,
    })
}

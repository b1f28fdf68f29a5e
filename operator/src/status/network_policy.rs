//! The condition `NetworkPolicyHonoured`: which policies keep packets of how many pods from being redirected.

use std::collections::BTreeMap;

use xdp_crds::{
    NetworkPolicyMode, NetworkPolicyState,
    conditions::network_policy_honoured::{IGNORED, NOT_CONSENTED, RESTRICTED, UNRESTRICTED},
    policy::Policy,
};

use super::{ConditionValue, NAMED_NODES, message};

/// Returns the condition of a policy that redirects. `states` are what its nodes report of its current
/// version.
pub(super) fn honoured<'a>(
    policy: &Policy,
    states: impl Iterator<Item = &'a NetworkPolicyState>,
) -> ConditionValue {
    let mut restrictions = BTreeMap::<(&str, &str), u32>::new();
    let (mut any, mut ignored) = (false, false);
    for state in states {
        any = true;
        ignored |= !state.honoured;
        for one in &state.restrictions {
            *restrictions.entry((&one.policy, &one.reason)).or_default() += one.pods;
        }
    }
    if ignored {
        return ConditionValue {
            is_true: false,
            reason: IGNORED.to_owned(),
            message:
                "packets are redirected whatever NetworkPolicies say: the policy says `networkPolicy: Ignore`"
                    .to_owned(),
        };
    }
    let restricted = restricted(restrictions);
    let (reason, message) = if any && policy.network_policy == NetworkPolicyMode::Ignore {
        let asked = "`networkPolicy: Ignore` has no effect, because the administrator has not consented \
                     (`redirect.networkPolicy.allowIgnore`)";
        (
            NOT_CONSENTED,
            [Some(asked.to_owned()), restricted]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        )
    } else if let Some(restricted) = restricted {
        (RESTRICTED, restricted)
    } else {
        let none = "no policy such as NetworkPolicy restricts redirects to the selected pods";
        (UNRESTRICTED, none.to_owned())
    };
    ConditionValue {
        is_true: true,
        reason: reason.to_owned(),
        message: message::bounded(&message),
    }
}

/// Writes `NetworkPolicy games/deny-all (NotAllowed): 3 pods; …`, the most pods first. `None`: there are no
/// restrictions.
fn restricted(restrictions: BTreeMap<(&str, &str), u32>) -> Option<String> {
    let mut all: Vec<_> = restrictions.into_iter().collect();
    all.sort_by_key(|(_, pods)| std::cmp::Reverse(*pods));
    let named = all.iter().take(NAMED_NODES);
    let named = named
        .map(|((policy, reason), pods)| format!("{policy} ({reason}): {}", message::count(*pods, "pod")));
    let named: Vec<String> = named.collect();
    let more = match all.len().saturating_sub(NAMED_NODES) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!all.is_empty()).then(|| {
        format!(
            "{}{more}; packets that they do not certainly allow pass to the stack",
            named.join("; ")
        )
    })
}

//! Types and reasons of conditions, and reasons of a policy on a node.
//!
//! They are stable: scripts may rely on them. The API reference is generated from these tables.

/// Type: the policy is valid and can be used as written.
pub const ACCEPTED: &str = "Accepted";
/// Type: the policy is programmed, and read back from the kernel, on every selected node, for every selected
/// pod.
pub const PROGRAMMED: &str = "Programmed";

/// Type: the policy is accepted and programmed. It has reason and message of the condition that decides:
/// [`ACCEPTED`] if that is false, [`PROGRAMMED`] otherwise.
pub const READY: &str = "Ready";

/// Type: packets are redirected only as NetworkPolicies certainly allow. Absent: no rule redirects.
pub const NETWORK_POLICY_HONOURED: &str = "NetworkPolicyHonoured";

/// A reason and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason.
    pub name: &'static str,
    /// The meaning, for users.
    pub meaning: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $list:ident: $($name:ident = $reason:literal, $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $name: &str = $reason;
        )+
        $(#[$doc])*
        pub const $list: &[Reason] = &[$(Reason { name: $reason, meaning: $meaning }),+];
    };
}

/// Reasons of the condition `Accepted`.
pub mod accepted {
    use super::Reason;

    words! {
        /// All reasons.
        ALL:
        ACCEPTED = "Accepted", "True: the policy is valid.";
        INVALID_SPEC = "InvalidSpec", "False: a field of the spec is not valid; the message names the field and what to write instead.";
        LIMIT_EXCEEDED = "LimitExceeded", "False: the policies of the namespace select pods in `from` by more distinct selectors, or with more addresses, than a namespace may; the message names the limit. No addresses are resolved for it.";
    }
}

/// Reasons of the condition `Programmed` of a policy, in addition to those of nodes (see [`node`]).
pub mod programmed {
    use super::Reason;

    words! {
        /// All reasons.
        ALL:
        PROGRAMMED = "Programmed", "True: programmed on every selected node, for every selected pod.";
        HOST_PORTS = "HostPorts", "True: programmed for the pods' own addresses. Selected pods have a `hostPort`, too: packets to a node's address and such a port meet no rule. The message names them.";
        NO_PODS = "NoPods", "True: the policy selects no running pod, so there is nothing to program.";
        NOT_ACCEPTED = "NotAccepted", "False: the policy is not valid; see the condition Accepted.";
        NO_NODE_STATE = "NoNodeState", "False: a node runs selected pods, and its agent has not reported; check that the agent runs on it.";
        NODE_UNREACHABLE = "NodeUnreachable", "False: a node that runs selected pods is unreachable (its condition Ready is Unknown); its last report may be stale.";
        OUTDATED = "Outdated", "False: a node has not reported this version of the policy yet, or not for all of its selected pods.";
    }
}

/// Reasons of the condition `NetworkPolicyHonoured`.
pub mod network_policy_honoured {
    use super::Reason;

    words! {
        /// All reasons.
        ALL:
        UNRESTRICTED = "Unrestricted", "True: no NetworkPolicy, and no policy of its kind, restricts redirects to the selected pods.";
        RESTRICTED = "Restricted", "True: packets that a policy does not certainly allow pass to the stack, where the cluster's network policy engine decides. The message names the policies, and for how many pods.";
        IGNORED = "Ignored", "False: the policy says `networkPolicy: Ignore`, and the administrator has consented: packets are redirected whatever NetworkPolicies say.";
        NOT_CONSENTED = "NotConsented", "True: the policy says `networkPolicy: Ignore`, but the administrator has not consented (the chart's `redirect.networkPolicy.allowIgnore`): NetworkPolicies are honoured.";
    }
}

/// Reasons of a policy on a node, in `XdpNodeState.status.policies`, written by agents. The operator uses
/// them as reasons of the condition `Programmed` too.
pub mod node {
    use super::Reason;

    words! {
        /// All reasons, the worst first.
        ALL:
        INVALID_SPEC = "InvalidSpec", "The agent refuses the policy: a field of the spec is not valid.";
        LIMIT_EXCEEDED = "LimitExceeded", "The agent refuses the policy: with others it exceeds a limit, or the share of its namespace; the message names both, and what counts towards them.";
        NIC_PROBLEM = "NicProblem", "A selected NIC does not run the program natively; the node's `status.nics` has the reason.";
        NO_NIC = "NoNic", "The administrator's selection matches no NIC of the node, so no packet meets the policy there.";
        KERNEL_REFUSED = "KernelRefused", "The kernel refused a change that the policy needs; the agent retries.";
        NOT_PERMITTED = "NotPermitted", "The administrator does not permit `action: Redirect` in the policy's namespace (the chart's `redirect.namespaceSelector`): packets of Redirect rules pass to the stack; all other rules act.";
        POD_NOT_READY = "PodNotReady", "A selected pod cannot take redirected packets as the policy asks, so they pass to the stack; the node's `status.pods` has the reason.";
        PEERS_PENDING = "PeersPending", "The addresses of a source that selects pods are not known yet; until then the previous version stays programmed.";
        PENDING = "Pending", "The policy is not in the kernel's tables yet, or the policies of its namespace are still being compiled.";
        HOST_PORTS = "HostPorts", "Programmed as written, and read back from the kernel, for the pods' own addresses; selected pods have a `hostPort`, and packets to the node's address and such a port meet no rule.";
        PROGRAMMED = "Programmed", "Programmed as written, and read back from the kernel.";
    }
}

/// Reasons that pass within moments if all works, the worst first: no faults yet.
///
/// The scripts in `charts/argocd` list them too.
pub const TRANSIENT: &[&str] = &[node::PEERS_PENDING, node::PENDING, programmed::OUTDATED];

/// Returns whether a reason is transient. An unknown one, from a newer agent, is not.
pub fn is_transient(reason: &str) -> bool {
    TRANSIENT.contains(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_valid_and_unique() {
        for list in [
            accepted::ALL,
            programmed::ALL,
            network_policy_honoured::ALL,
            node::ALL,
        ] {
            let mut names: Vec<&str> = list.iter().map(|reason| reason.name).collect();
            for name in &names {
                assert!(
                    name.starts_with(|first: char| first.is_ascii_uppercase())
                        && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                    "{name}"
                );
            }
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), list.len());
        }
    }
}

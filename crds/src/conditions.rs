//! The words of statuses: types and reasons of conditions, and why a policy is not programmed on a node.
//!
//! Scripts may rely on them. Each has its meaning beside it, in one table, from which the API reference is made too.

/// Type: the policy is valid and can be used as written.
pub const ACCEPTED: &str = "Accepted";
/// Type: the policy is in force, read back from the kernel, on every selected node, for every selected pod.
pub const PROGRAMMED: &str = "Programmed";

/// A word and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The constant.
    pub name: &'static str,
    /// What it means, for users.
    pub meaning: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $list:ident: $($name:ident = $word:literal, $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $name: &str = $word;
        )+
        $(#[$doc])*
        pub const $list: &[Word] = &[$(Word { name: $word, meaning: $meaning }),+];
    };
}

/// Reasons of the condition `Accepted` (its status in brackets).
pub mod accepted {
    use super::Word;

    words! {
        /// All of them.
        ALL:
        ACCEPTED = "Accepted", "True: the policy is valid.";
        INVALID_SPEC = "InvalidSpec", "False: something in the spec is not valid; the message names the field and what to write instead.";
    }
}

/// Reasons of the condition `Programmed` of a policy, beside those that nodes give (see [`node`]).
pub mod programmed {
    use super::Word;

    words! {
        /// All of them.
        ALL:
        PROGRAMMED = "Programmed", "True: in force on every selected node, for every selected pod.";
        NO_PODS = "NoPods", "True: no running pod is selected, so there is nothing to do.";
        NOT_ACCEPTED = "NotAccepted", "False: the policy is not valid; see the condition Accepted.";
        NO_NODE_STATE = "NoNodeState", "False: a node runs selected pods and its agent has not reported at all: is the agent running there?";
        NODE_UNREACHABLE = "NodeUnreachable", "False: Kubernetes hears nothing from a node that runs selected pods (its condition Ready is Unknown), so what its agent reported last may be no longer true.";
        OUTDATED = "Outdated", "False: a node has not yet reported this version of the policy, or not yet all of its selected pods.";
    }
}

/// Why a policy is, or is not, programmed on a node: reasons of `XdpNodeState.status.policies`, written by agents. The
/// operator passes them on as reasons of the condition `Programmed`.
pub mod node {
    use super::Word;

    words! {
        /// All of them, the worst first.
        ALL:
        INVALID_SPEC = "InvalidSpec", "The agent refuses the policy: something in the spec is not valid.";
        LIMIT_EXCEEDED = "LimitExceeded", "The agent refuses the policy: with the other policies of its node it needs more of something than there is room for; the message names the limit and what counts towards it.";
        NIC_PROBLEM = "NicProblem", "A selected NIC does not carry the program natively; the node's `status.nics` say why.";
        NO_NIC = "NoNic", "The administrator's selection fits no NIC of the node, so no packet meets the policy there.";
        KERNEL_REFUSED = "KernelRefused", "The kernel refused a change that the policy needs; the agent tries again.";
        POD_NOT_READY = "PodNotReady", "A selected pod cannot take what the policy asks, so its packets go to the stack; the node's `status.pods` say why.";
        PEERS_PENDING = "PeersPending", "The addresses of a selector peer are not known yet; until then the version before stays in force.";
        PENDING = "Pending", "Not yet in the kernel's tables.";
        PROGRAMMED = "Programmed", "In force as written, read back from the kernel.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_valid_reasons_of_conditions_and_unique() {
        for list in [accepted::ALL, programmed::ALL, node::ALL] {
            let mut names: Vec<&str> = list.iter().map(|word| word.name).collect();
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

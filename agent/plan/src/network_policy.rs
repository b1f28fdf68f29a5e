//! Decides which packets all known policies certainly allow. Only these are redirected; all others
//! pass to the stack, where the cluster's engine enforces the policies.
//!
//! ```text
//! IngressPolicy ─┐
//! AddressSets ───┼─▶ PolicyFacts::of(pod) ─▶ PodPolicies ─┬─▶ certainty(source, protocol, port)
//! cluster ───────┘                                        └─▶ certain_traffic() ─▶ CertainTraffic
//! ```
//!
//! [`PodPolicies::certainty`] answers for one packet, [`PodPolicies::certain_traffic`] for all packets at
//! once: by intervals of sources and ports, which the compiler lays over the intervals of rules.
//!
//! *Certain* means that engines agree about it. Where they do not, or where the agent does not know enough,
//! nothing is certain:
//!
//! | what | is certain |
//! |---|---|
//! | a pod that no policy selects | always |
//! | an address in an `ipBlock` | outside the ranges of the cluster |
//! | every source | by an empty `from` only, not by `0.0.0.0/0` |
//! | an address of a node, and so of a pod in the host's network and of a masqueraded source | never |
//! | an address that two pods claim | never |
//! | a pod that a selector selects | when all slices of the selector's set are known |
//! | a named port | when the pod gives the name one number, in a container |
//! | SCTP, ICMP and other protocols | never |
//! | what an `Accept` of the administrator allows | if policies of `networking.k8s.io` allow it, or none selects the pod |
//! | policies of equal priority with different actions | never |
//! | pods that `ClusterNetworkPolicy` and `AdminNetworkPolicy` select, both | never |
//! | a policy, peer or port that cannot be read | never |
//! | a pod that a policy of another engine might restrict ([`FOREIGN_KINDS`]) | never |
//! | a pod about which policies may exist that are not listed yet | never |

mod addresses;
mod consent;
mod foreign;
mod kinds;
mod lists;
mod node;
mod pod;
mod ports;
mod tiers;
mod traffic;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use addresses::{AddressSet, AddressSets, ClusterAddresses};
pub use consent::apply_consent;
pub use foreign::{FOREIGN_KINDS, ForeignKind, ForeignPolicy};
pub use kinds::{IgnoredKind, UnknownPolicyKind, all_kinds};
pub use node::{EvaluatedPods, KnownPolicy, KnownSets, NodeCertainty, NodePolicies, UnlistedPolicies};
pub use pod::PodPolicies;
pub use traffic::{CertainTraffic, PortCertainty};
use xdp_crds::network_policy::{IngressPolicy, NetworkPolicyError, PolicyName};

use crate::permission::NamespaceLabels;

/// What the agent knows about policies.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFacts<'a> {
    /// All policies that may select a pod of the node.
    pub policies: &'a [Arc<IngressPolicy>],
    /// Policies that cannot be read.
    pub unreadable: &'a [NetworkPolicyError],
    /// Policies of other engines.
    pub foreign: &'a [ForeignPolicy],
    /// Addresses of the pods that policies select as sources.
    pub sets: &'a AddressSets,
    /// Addresses of the cluster. `None`: they are not known yet.
    pub cluster: Option<&'a ClusterAddresses>,
    /// Labels of the namespaces with pods on the node.
    pub namespaces: &'a NamespaceLabels,
}

/// Whether a packet is certainly allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Every known policy certainly allows it.
    Certain,
    /// The stack decides about it.
    NotCertain(NotCertain),
}

/// Why a packet is not certainly allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotCertain {
    /// The policy because of which it is not. Of several, one.
    pub policy: PolicyName,
    /// The reason.
    pub reason: NotCertainReason,
}

/// The reason why packets are not certainly allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotCertainReason {
    /// The policy denies them.
    Denied,
    /// The policy selects the pod, and no rule of a policy allows them.
    NotAllowed,
    /// The policy allows them by an `ipBlock`, and engines differ about addresses of the cluster.
    BlockInCluster,
    /// The policy selects the pod, and engines differ about packets from nodes.
    NodeAddress,
    /// The policy selects the pod, and two pods claim the source address.
    DisputedAddress,
    /// The policy selects the pod, and engines differ about protocols other than TCP and UDP.
    Protocol,
    /// Another policy has the same priority and another action.
    EqualPriorities,
    /// The policy selects the pod, and so does one of the other version of its API.
    TwoVersions,
    /// The addresses of pods that the policy names are not all known.
    AddressesPending,
    /// The policy names a port that containers give different numbers, or that a sidecar has.
    AmbiguousPort,
    /// The policy, or the part of it that may match, cannot be read.
    Unreadable,
    /// The policy selects the pod, and all that do have too many rules to be evaluated for all packets.
    TooManyRules,
    /// The policy is of another engine, and might restrict the pod.
    Foreign,
    /// The labels of the pod's namespace are not known, so that the policy may select the pod.
    NamespacePending,
    /// The policy selects the pod, and the addresses of the cluster are not known.
    ClusterPending,
    /// Policies of this kind may exist: their list is not known yet.
    PoliciesPending,
}

impl NotCertainReason {
    /// Returns the reason as a constant in CamelCase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "Denied",
            Self::NotAllowed => "NotAllowed",
            Self::BlockInCluster => "BlockInCluster",
            Self::NodeAddress => "NodeAddress",
            Self::DisputedAddress => "DisputedAddress",
            Self::Protocol => "Protocol",
            Self::EqualPriorities => "EqualPriorities",
            Self::TwoVersions => "TwoVersions",
            Self::AddressesPending => "AddressesPending",
            Self::AmbiguousPort => "AmbiguousPort",
            Self::Unreadable => "Unreadable",
            Self::TooManyRules => "TooManyRules",
            Self::Foreign => "Foreign",
            Self::NamespacePending => "NamespacePending",
            Self::ClusterPending => "ClusterPending",
            Self::PoliciesPending => "PoliciesPending",
        }
    }
}

/// Writes `NetworkPolicy games/deny-all (NotAllowed)`.
impl fmt::Display for NotCertain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.policy, self.reason.as_str())
    }
}

/// Labels of an object.
type Labels = BTreeMap<String, String>;

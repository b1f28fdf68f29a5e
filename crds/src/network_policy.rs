//! The policies of Kubernetes about connections to pods, in one form: which pods a policy selects, and what
//! its ingress rules say. Egress is not read: replies belong to their connection, and connections that a pod
//! opens are never redirected.
//!
//! | kind | version | converted by |
//! |---|---|---|
//! | `NetworkPolicy` | `networking.k8s.io/v1` | [`network_policy`] |
//! | `ClusterNetworkPolicy` | `policy.networking.k8s.io/v1alpha2` | [`cluster_network_policy`] |
//! | `AdminNetworkPolicy` | `policy.networking.k8s.io/v1alpha1` | [`admin_network_policy`] |
//! | `BaselineAdminNetworkPolicy` | `policy.networking.k8s.io/v1alpha1` | [`baseline_admin_network_policy`] |
//!
//! A peer or a port that cannot be read becomes [`PolicyPeer::Unreadable`] or [`PolicyPort::Unreadable`]: the
//! rest of the policy still counts. Anything else that cannot be read is a [`NetworkPolicyError`], and may
//! select any pod in [`NetworkPolicyError::may_select`].

mod cluster;
mod fault;
mod labels;
mod tiers;
mod v1;

use std::{fmt, ops::RangeInclusive};

pub use cluster::ClusterSet;
pub use fault::{NetworkPolicyError, NetworkPolicyFault};
pub use tiers::{admin_network_policy, baseline_admin_network_policy, cluster_network_policy};
pub use v1::network_policy;

use crate::{
    Protocol,
    policy::{Block, PodSelection, SetId},
};

/// A policy with rules about connections that others open to the pods that it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPolicy {
    /// Kind, namespace and name.
    pub name: PolicyName,
    /// The pods that it selects. Pods in the host's network are never selected.
    pub subject: PodSelection,
    /// The tier. All policies of a `NetworkPolicy` tier are added up; those of the others are ordered.
    pub tier: PolicyTier,
    /// The order of policies of a tier, lowest first. 0 in the tier of `NetworkPolicy`.
    pub priority: u16,
    /// The rules. In the tier of `NetworkPolicy`, all of them accept, and their order means nothing.
    pub rules: Vec<PolicyRule>,
}

/// Identifies a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// The kind.
    pub kind: PolicyKind,
    /// The namespace. `None`: the policy is cluster-scoped.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A kind of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKind {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// The tiers, in the order in which they are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyTier {
    /// Policies of the administrator before those of namespaces.
    Admin,
    /// The tier of `networking.k8s.io/v1`. It decides about every connection to a pod that it selects.
    NetworkPolicy,
    /// Policies of the administrator about pods that no `NetworkPolicy` selects.
    Baseline,
}

/// A rule of a policy. It matches a connection when a source and a port match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What the rule says about connections that it matches.
    pub action: PolicyAction,
    /// The sources.
    pub from: PolicySources,
    /// The ports. Empty: all ports of all protocols.
    pub ports: Vec<PolicyPort>,
}

/// What a rule says about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyAction {
    /// The connection is allowed; no other rule counts. `Allow` in `AdminNetworkPolicy`.
    Accept,
    /// The connection is refused; no other rule counts.
    Deny,
    /// The next tier decides.
    Pass,
}

/// The sources of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySources {
    /// All sources: pods, nodes, and addresses outside the cluster.
    Any,
    /// One of these peers.
    Listed(Vec<PolicyPeer>),
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyPeer {
    /// A network with exceptions.
    Block(Block),
    /// Pods, except those in the host's network.
    Pods {
        /// The pods.
        selection: PodSelection,
        /// Identifies the `XdpPeerSet`s with their addresses.
        set: SetId,
    },
    /// It cannot be read: any source may match.
    Unreadable,
}

/// Destination ports of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyPort {
    /// Ports of TCP, UDP or SCTP.
    Range {
        /// The protocol.
        protocol: Protocol,
        /// The ports.
        ports: RangeInclusive<u16>,
    },
    /// The container port with this name in the selected pod.
    Named {
        /// The protocol.
        protocol: Protocol,
        /// The name.
        name: String,
    },
    /// It cannot be read: any port may match.
    Unreadable,
}

/// `NetworkPolicy` of `networking.k8s.io`.
pub const NETWORK_POLICY: PolicyKind = PolicyKind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
};
/// `ClusterNetworkPolicy` of `policy.networking.k8s.io`.
pub const CLUSTER_NETWORK_POLICY: PolicyKind = PolicyKind {
    group: TIERS_GROUP,
    kind: "ClusterNetworkPolicy",
};
/// `AdminNetworkPolicy` of `policy.networking.k8s.io`.
pub const ADMIN_NETWORK_POLICY: PolicyKind = PolicyKind {
    group: TIERS_GROUP,
    kind: "AdminNetworkPolicy",
};
/// `BaselineAdminNetworkPolicy` of `policy.networking.k8s.io`.
pub const BASELINE_ADMIN_NETWORK_POLICY: PolicyKind = PolicyKind {
    group: TIERS_GROUP,
    kind: "BaselineAdminNetworkPolicy",
};
const TIERS_GROUP: &str = "policy.networking.k8s.io";

impl IngressPolicy {
    /// Returns the pods that the rules name as sources: the operator writes an `XdpPeerSet` for each, and the
    /// agent needs them. A selection may be there more than once.
    pub fn selections(&self) -> impl Iterator<Item = (&PodSelection, &SetId)> {
        let peers = self.rules.iter().flat_map(|rule| match &rule.from {
            PolicySources::Any => &[][..],
            PolicySources::Listed(peers) => peers,
        });
        peers.filter_map(|peer| match peer {
            PolicyPeer::Pods { selection, set } => Some((selection, set)),
            PolicyPeer::Block(_) | PolicyPeer::Unreadable => None,
        })
    }
}

impl PolicyPeer {
    /// Creates a peer that selects pods.
    pub fn pods(selection: PodSelection) -> Self {
        let set = selection.id();
        Self::Pods { selection, set }
    }
}

/// Writes `NetworkPolicy games/deny-all`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Writes the kind, and the group of kinds that are not of Kubernetes: `NetworkPolicy.crd.antrea.io`.
impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match self.group {
            group if group == NETWORK_POLICY.group || group == TIERS_GROUP => Ok(()),
            group => write!(f, ".{group}"),
        }
    }
}

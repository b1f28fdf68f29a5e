//! Policies, validated: what is here can be compiled.

mod convert;
mod fault;
mod peers;
mod ports;
mod prefix;
mod selector;
mod size;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::PeerSelector;
pub use crate::{Enforcement, Protocol, RuleAction};

pub use fault::{Fault, PolicyError};
pub use selector::Selector;
pub use size::entries_needed;

/// Largest `priority`.
pub const MAX_PRIORITY: u16 = 1000;
/// Longest name of a rule.
pub const MAX_RULE_NAME: usize = 63;
/// Entries that a pod has room for, from all its policies.
pub const MAX_ENTRIES: usize = 64;

/// A validated `XdpPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespace, `default` if the object names none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`, empty if there is none (files).
    pub uid: String,
    /// `metadata.generation`, 0 if there is none (files).
    pub generation: i64,
    /// 0 (first) to [`MAX_PRIORITY`].
    pub priority: u16,
    /// `metadata.creationTimestamp`; policies from files have none and count as older than all that have one.
    pub created: Option<Time>,
    /// Which pods of the namespace.
    pub selector: Selector,
    /// On which nodes.
    pub node_selector: Selector,
    /// Whether rules act.
    pub enforcement: Enforcement,
    /// First match decides. Names are unique.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name, unique in the policy.
    pub name: String,
    /// Sources.
    pub from: Sources,
    /// Protocols and ports; empty means any.
    pub ports: Vec<PortMatch>,
    /// What happens.
    pub action: RuleAction,
    /// Mark for the metadata.
    pub mark: Option<u32>,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Anywhere.
    Any,
    /// One of these; none at all matches nothing.
    Peers(Vec<Peer>),
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Addresses.
    Block(Block),
    /// Pods. Matches nothing before its addresses are put in its place.
    Pods(PodPeer),
}

/// Pods as a source, with [`NetworkPolicyPeer`]'s meaning.
///
/// [`NetworkPolicyPeer`]: k8s_openapi::api::networking::v1::NetworkPolicyPeer
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPeer {
    /// As written: what an `XdpPeerSet` is found by.
    pub written: PeerSelector,
    /// Namespaces; `None`: the policy's own.
    pub namespaces: Option<Selector>,
    /// Pods in them.
    pub pods: Selector,
}

/// A network without some of its parts. All prefixes are truncated (no host bits) and of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The network.
    pub cidr: IpNet,
    /// Inside `cidr`.
    pub except: Vec<IpNet>,
}

/// A protocol, and a range of destination ports if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// `None`: any; always `None` for ICMP and `ICMPv6`.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Policy {
    /// What policies are ordered by, on a node and for a pod.
    pub fn order(&self) -> (u16, Option<&Time>, &str, &str) {
        (self.priority, self.created.as_ref(), &self.name, &self.namespace)
    }

    /// Whether any packet may be redirected because of this policy.
    pub fn redirects(&self) -> bool {
        self.enforcement == Enforcement::Enforce
            && self.rules.iter().any(|rule| rule.action == RuleAction::Redirect)
    }
}

impl Rule {
    /// The pods among its sources.
    pub fn pod_peers(&self) -> impl Iterator<Item = &PodPeer> {
        let peers = match &self.from {
            Sources::Any => &[][..],
            Sources::Peers(peers) => peers,
        };
        peers.iter().filter_map(|peer| match peer {
            Peer::Block(_) => None,
            Peer::Pods(pods) => Some(pods),
        })
    }
}

impl PodPeer {
    /// Whether a pod with `labels`, in a namespace with this name and labels, is meant by a policy in `policy_namespace`.
    pub fn selects(
        &self,
        policy_namespace: &str,
        (namespace, namespace_labels): (&str, &BTreeMap<String, String>),
        labels: &BTreeMap<String, String>,
    ) -> bool {
        let here = match &self.namespaces {
            Some(selector) => selector.matches(namespace_labels),
            None => namespace == policy_namespace,
        };
        here && self.pods.matches(labels)
    }
}

/// `XdpPolicy games/players`, as problems name it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpPolicy {}/{}", self.namespace, self.name)
    }
}

//! Policies, validated: what is here can be compiled.

mod convert;
mod fault;
mod ports;
mod prefix;
mod rate;
mod selector;
mod sources;

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

pub use fault::{Fault, PolicyError};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use selector::Selector;

use crate::PeerSelector;
pub use crate::{Delivery, Enforcement, LimitPer, Protocol, RuleAction};

/// Largest `priority`.
pub const MAX_PRIORITY: u16 = 1000;
/// Longest name of a rule.
pub const MAX_RULE_NAME: usize = 63;
/// Longest name of a container port.
pub const MAX_PORT_NAME: usize = 15;
/// Largest `packetsPerSecond` of a rate limit.
pub const MAX_RATE: u32 = 100_000_000;
/// Largest `burst` of a rate limit.
pub const MAX_BURST: u32 = 10_000_000;

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
    /// `metadata.creationTimestamp`; policies from files have none and count as older than all that have
    /// one.
    pub created: Option<Time>,
    /// Which pods of the namespace.
    pub selector: Selector,
    /// On which nodes.
    pub node_selector: Selector,
    /// Whether rules act.
    pub enforcement: Enforcement,
    /// How redirected packets reach the pod.
    pub delivery: Delivery,
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
    /// Excess is dropped; only of rules that redirect or pass.
    pub rate_limit: Option<PacketRateLimit>,
}

/// A limit in packets per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketRateLimit {
    /// 1 to [`MAX_RATE`].
    pub packets_per_second: u32,
    /// 1 to [`MAX_BURST`].
    pub burst: u32,
    /// What shares the limit.
    pub per: LimitPer,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Anywhere.
    Any,
    /// One of these. An empty list matches nothing.
    Listed(Vec<Source>),
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Addresses.
    Block(Block),
    /// Pods. Matches nothing until the resolver replaces it by the pods' addresses.
    Pods(PodSource),
}

/// Pods as a source, with [`NetworkPolicyPeer`]'s meaning.
///
/// [`NetworkPolicyPeer`]: k8s_openapi::api::networking::v1::NetworkPolicyPeer
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSource {
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

/// A protocol, and which of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// Which ports, or messages of ICMP.
    pub ports: PortSet,
}

/// Which packets of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSet {
    /// All, also of protocols without ports.
    Any,
    /// Destination ports; only with TCP, UDP and SCTP.
    Range(RangeInclusive<u16>),
    /// The destination port that the pod gives this name, see [`Pod::ports`]; only with TCP, UDP and SCTP.
    ///
    /// [`Pod::ports`]: crate::pod::Pod::ports
    Named(String),
    /// Messages; only with ICMP and `ICMPv6`.
    Icmp {
        /// Type.
        kind: u8,
        /// Code; `None`: any.
        code: Option<u8>,
    },
}

impl Policy {
    /// What policies are ordered by, on a node and for a pod.
    pub fn order(&self) -> (u16, Option<&Time>, &str, &str) {
        (self.priority, self.created.as_ref(), &self.name, &self.namespace)
    }

    /// Whether any packet may be redirected because of this policy, whatever its `delivery`.
    pub fn redirects(&self) -> bool {
        self.enforcement == Enforcement::Enforce
            && self.rules.iter().any(|rule| rule.action == RuleAction::Redirect)
    }
}

impl Rule {
    /// Returns the pod selectors among the sources.
    pub fn pod_sources(&self) -> impl Iterator<Item = &PodSource> {
        let sources = match &self.from {
            Sources::Any => &[][..],
            Sources::Listed(sources) => sources,
        };
        sources.iter().filter_map(|source| match source {
            Source::Block(_) => None,
            Source::Pods(pods) => Some(pods),
        })
    }
}

impl PodSource {
    /// Returns whether a policy in `policy_namespace` means a pod with `labels` in a namespace with this name
    /// and labels.
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

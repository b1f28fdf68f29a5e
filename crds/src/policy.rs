//! Validated policies.

mod convert;
pub(crate) mod fault;
mod mark;
mod permission;
mod ports;
mod prefix;
mod rate;
mod selection;
pub(crate) mod selector;
mod sources;

use std::{fmt, ops::RangeInclusive};

pub use fault::{Fault, PolicyError};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use mark::{MarkMask, NotAMask};
pub use permission::{NotASelector, RedirectNamespaces};
pub use selection::{PodSelection, SelectedNamespaces, SetId};
pub use selector::{Condition, LabelTest, Selector};

pub use crate::{Delivery, Enforcement, LimitPer, NetworkPolicyMode, Protocol, RuleAction};

/// The largest `priority`.
pub const MAX_PRIORITY: u16 = 1000;
/// The longest name of a rule.
pub const MAX_RULE_NAME: usize = 63;
/// The longest name of a container port.
pub const MAX_PORT_NAME: usize = 15;
/// The largest `packetsPerSecond` of a rate limit.
pub const MAX_RATE: u32 = 100_000_000;
/// The largest `burst` of a rate limit.
pub const MAX_BURST: u32 = 10_000_000;
/// The most seconds in which the rate of a limit lets as many packets through as its burst.
pub const BURST_SECONDS: u32 = 60;

/// A validated `XdpPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The namespace; `default` if absent.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// `metadata.uid`; empty if absent, as in files.
    pub uid: String,
    /// `metadata.generation`; 0 if absent, as in files.
    pub generation: i64,
    /// 0 (first) to [`MAX_PRIORITY`].
    pub priority: u16,
    /// `metadata.creationTimestamp`. Policies from files have none, and count as older than those with one.
    pub created: Option<Time>,
    /// The target pods in the namespace.
    pub selector: Selector,
    /// The nodes on which the policy applies.
    pub node_selector: Selector,
    /// Whether rules act or only count.
    pub enforcement: Enforcement,
    /// How redirected packets reach the pod.
    pub delivery: Delivery,
    /// The rules, with unique names. The first match decides.
    pub rules: Vec<Rule>,
    /// Whether NetworkPolicies restrict redirects.
    pub network_policy: NetworkPolicyMode,
    /// Whether rules may redirect in the policy's namespace. The administrator decides that, not the policy:
    /// true until [`RedirectNamespaces`] is applied.
    pub redirect_permitted: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, unique in the policy.
    pub name: String,
    /// The sources.
    pub from: Sources,
    /// Protocols and ports. Empty: any.
    pub ports: Vec<PortMatch>,
    /// The action.
    pub action: RuleAction,
    /// Mark for the metadata.
    pub mark: Option<u32>,
    /// The rate limit; only of rules that redirect or pass.
    pub rate_limit: Option<PacketRateLimit>,
}

/// A limit in packets per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketRateLimit {
    /// 1 to [`MAX_RATE`].
    pub packets_per_second: u32,
    /// 1 to [`MAX_BURST`], and at most [`BURST_SECONDS`] × `packets_per_second`.
    pub burst: u32,
    /// Packets that share the limit.
    pub per: LimitPer,
}

/// The sources of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Any source.
    Any,
    /// One of these sources. An empty list matches nothing.
    Listed(Vec<Source>),
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Addresses.
    Block(Block),
    /// Pods. Matches nothing until a resolver replaces it by the addresses of the pods.
    Pods(PodSource),
}

/// Pods as a source, with the meaning of [`NetworkPolicyPeer`]. [`Self::selection`] returns what identifies
/// the addresses.
///
/// [`NetworkPolicyPeer`]: k8s_openapi::api::networking::v1::NetworkPolicyPeer
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSource {
    /// The namespaces; `None`: the namespace of the policy.
    pub namespaces: Option<Selector>,
    /// The pods in these namespaces.
    pub pods: Selector,
}

/// A network with exceptions. All prefixes are of one address family and have no host bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The network.
    pub cidr: IpNet,
    /// The exceptions, inside `cidr`.
    pub except: Vec<IpNet>,
}

/// A protocol with its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports, or the types of ICMP messages.
    pub ports: PortSet,
}

/// A set of ports or of ICMP messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSet {
    /// All packets, also of protocols without ports.
    Any,
    /// A range of destination ports; only with TCP, UDP and SCTP.
    Range(RangeInclusive<u16>),
    /// The destination port with this name in the pod (see [`Pod::ports`]); only with TCP, UDP and SCTP.
    ///
    /// [`Pod::ports`]: crate::pod::Pod::ports
    Named(String),
    /// ICMP messages; only with ICMP and `ICMPv6`.
    Icmp {
        /// The type.
        kind: u8,
        /// The code; `None`: any.
        code: Option<u8>,
    },
}

impl Policy {
    /// Returns the key by which policies are ordered, on a node and for a pod.
    pub fn order(&self) -> (u16, Option<&Time>, &str, &str) {
        (self.priority, self.created.as_ref(), &self.name, &self.namespace)
    }

    /// Returns whether the policy has a rule that redirects, with any `delivery`.
    pub fn redirects(&self) -> bool {
        self.enforcement == Enforcement::Enforce
            && self.rules.iter().any(|rule| rule.action == RuleAction::Redirect)
    }

    /// Returns whether the policy has a rule that redirects only what NetworkPolicies certainly allow.
    pub fn is_restricted(&self) -> bool {
        self.network_policy == NetworkPolicyMode::Honour && self.redirects()
    }

    /// Returns whether the policy may drop a packet, by an action or a rate limit.
    pub fn drops(&self) -> bool {
        let may_drop = |rule: &Rule| {
            matches!(rule.action, RuleAction::Drop | RuleAction::Reject) || rule.rate_limit.is_some()
        };
        self.enforcement == Enforcement::Enforce && self.rules.iter().any(may_drop)
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

/// Writes `XdpPolicy games/players`, as in problems.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpPolicy {}/{}", self.namespace, self.name)
    }
}

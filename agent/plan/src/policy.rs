//! Policies, validated: what is here can be compiled.

mod convert;
mod fault;
mod ports;
mod prefix;
mod selector;

use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_core::tables::Action;
pub use xdp_crds::{Enforcement, Protocol};

pub use fault::{Fault, PolicyError};
pub use selector::Selector;

/// Largest `priority`.
pub const MAX_PRIORITY: u16 = 1000;
/// Longest name of a rule.
pub const MAX_RULE_NAME: usize = 63;

/// A validated `XdpPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespace, `default` if the object names none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// 0 (first) to [`MAX_PRIORITY`].
    pub priority: u16,
    /// `metadata.creationTimestamp`; policies from files have none and count as older than all that have one.
    pub created: Option<Time>,
    /// Which pods of the namespace.
    pub selector: Selector,
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
    /// Sources; empty means any.
    pub peers: Vec<Peer>,
    /// Protocols and ports; empty means any.
    pub ports: Vec<PortMatch>,
    /// What happens.
    pub action: Action,
    /// Mark for the metadata.
    pub mark: Option<u32>,
}

/// A network without some of its parts. All prefixes are truncated (no host bits) and of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
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
            && self.rules.iter().any(|rule| rule.action == Action::Redirect)
    }
}

/// `XdpPolicy games/players`, as problems name it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpPolicy {}/{}", self.namespace, self.name)
    }
}

//! Explains why the rules before the deciding rule do not match a packet. It reads the policies, not the
//! tables.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    installed::RuleLabel,
    policy::{Block, Policy, PortMatch, PortSet, Protocol, Rule, Source, Sources},
};

/// A packet for a pod, and the rule that decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainQuery<'a> {
    /// Source address.
    pub source: IpAddr,
    /// IP protocol number; for IPv6, the one after the extension headers.
    pub protocol: u8,
    /// Fields of the transport header.
    pub transport: TransportFields,
    /// The rule that decided. `None`: no rule matched, so all rules are explained.
    pub decided: Option<&'a RuleLabel>,
}

/// The fields after the IP header that rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFields {
    /// Destination port of TCP, UDP or SCTP.
    Port(u16),
    /// Type and code of ICMP in IPv4 or `ICMPv6` in IPv6.
    Icmp(u8, u8),
    /// No field that rules can match.
    Other,
    /// No transport header: the packet is a fragment, but not the first one.
    LaterFragment,
}

/// A rule that did not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// The rule.
    pub rule: RuleLabel,
    /// Why the rule does not match. `None`: it matches, so the tables differ from these policies.
    pub mismatch: Option<Mismatch>,
}

/// The reason why a rule does not match a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// The rule has other sources.
    Source,
    /// The rule has other protocols.
    Protocol,
    /// The rule has other ports of this protocol.
    Port,
    /// The rule has other types or codes of this protocol.
    Type,
    /// The rule has protocols or ports, and the packet is a fragment without them.
    Fragment,
    /// The rule names no protocol, and the packet is a path MTU message, which needs a rule that names its
    /// protocol.
    PathMtu,
}

impl Mismatch {
    /// Returns the reason in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::Type => "type",
            Self::Fragment => "fragment",
            Self::PathMtu => "path-mtu",
        }
    }
}

/// Lists the rules of a pod up to the one that decided, in order. `named` are the pod's named ports.
pub fn explain(
    policies: &[&Policy],
    named: &BTreeMap<(String, Protocol), u16>,
    query: &ExplainQuery<'_>,
) -> Vec<ExplainedRule> {
    let rules = policies.iter().flat_map(|policy| {
        policy.rules.iter().map(move |rule| {
            let label = RuleLabel {
                namespace: policy.namespace.clone(),
                policy: policy.name.clone(),
                rule: rule.name.clone(),
            };
            (label, rule)
        })
    });
    rules
        .take_while(|(label, _)| query.decided != Some(label))
        .map(|(label, rule)| ExplainedRule {
            mismatch: mismatch(rule, named, query),
            rule: label,
        })
        .collect()
}

fn mismatch(
    rule: &Rule,
    named: &BTreeMap<(String, Protocol), u16>,
    query: &ExplainQuery<'_>,
) -> Option<Mismatch> {
    if !is_from(&rule.from, query.source) {
        return Some(Mismatch::Source);
    }
    if rule.ports.is_empty() {
        return is_path_mtu(query).then_some(Mismatch::PathMtu);
    }
    if query.transport == TransportFields::LaterFragment {
        return Some(Mismatch::Fragment);
    }
    let is_own = |port: &&PortMatch| number(port.protocol) == query.protocol;
    let mut own = rule.ports.iter().filter(is_own).peekable();
    match query.transport {
        _ if own.peek().is_none() => Some(Mismatch::Protocol),
        // ICMP in IPv6 and ICMPv6 in IPv4 are protocols like any other.
        TransportFields::Other | TransportFields::LaterFragment => Some(Mismatch::Protocol),
        TransportFields::Port(port) => (!own.any(|own| has_port(own, named, port))).then_some(Mismatch::Port),
        TransportFields::Icmp(kind, code) => {
            (!own.any(|own| has_type(own, kind, code))).then_some(Mismatch::Type)
        }
    }
}

fn is_from(from: &Sources, source: IpAddr) -> bool {
    let has = |block: &Block| {
        block.cidr.contains(&source) && !block.except.iter().any(|except| except.contains(&source))
    };
    match from {
        Sources::Any => true,
        Sources::Listed(sources) => sources
            .iter()
            .any(|source| matches!(source, Source::Block(block) if has(block))),
    }
}

const fn is_path_mtu(query: &ExplainQuery<'_>) -> bool {
    match (query.transport, query.source) {
        (TransportFields::Icmp(kind, code), IpAddr::V4(_)) => kind == 3 && code == 4,
        (TransportFields::Icmp(kind, _), IpAddr::V6(_)) => kind == 2,
        _ => false,
    }
}

fn has_port(own: &PortMatch, named: &BTreeMap<(String, Protocol), u16>, port: u16) -> bool {
    match &own.ports {
        PortSet::Any => true,
        PortSet::Range(range) => range.contains(&port),
        PortSet::Named(name) => named.get(&(name.clone(), own.protocol)) == Some(&port),
        PortSet::Icmp { .. } => false,
    }
}

fn has_type(own: &PortMatch, kind: u8, code: u8) -> bool {
    match &own.ports {
        PortSet::Any => true,
        PortSet::Icmp {
            kind: own_kind,
            code: own_code,
        } => *own_kind == kind && own_code.is_none_or(|own| own == code),
        PortSet::Range(_) | PortSet::Named(_) => false,
    }
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Icmp => 1,
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmpv6 => 58,
        Protocol::Sctp => 132,
    }
}

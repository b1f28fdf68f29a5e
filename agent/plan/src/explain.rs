//! Why the rules before the one that decided did not match a packet: read from the policies, not from the tables.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    installed::RuleLabel,
    policy::{Block, Policy, PortMatch, PortSet, Protocol, Rule, Source, Sources},
};

/// A packet for a pod, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainQuery<'a> {
    /// Source address.
    pub source: IpAddr,
    /// IP protocol number; of IPv6 the one behind the extension headers.
    pub protocol: u8,
    /// What the transport header says.
    pub transport: TransportFields,
    /// The rule that decided; `None`: no rule did, so all are asked.
    pub decided: Option<&'a RuleLabel>,
}

/// What a packet says beyond its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFields {
    /// Destination port of TCP, UDP or SCTP.
    Port(u16),
    /// Type and code of ICMP in IPv4 or `ICMPv6` in IPv6.
    Icmp(u8, u8),
    /// Nothing that rules ask about.
    Other,
    /// Nothing: it is a fragment, and not the first one.
    LaterFragment,
}

/// A rule that was asked and did not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// The rule.
    pub rule: RuleLabel,
    /// Why it did not match. `None`: it matches, so the tables hold something else than these policies.
    pub mismatch: Option<Mismatch>,
}

/// Why a rule does not match a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// It is for other sources.
    Source,
    /// It is for other protocols.
    Protocol,
    /// It is for other ports of this protocol.
    Port,
    /// It is for other types or codes of this protocol.
    Type,
    /// It asks for protocols or ports, and the packet is a fragment that carries none.
    Fragment,
    /// It names no protocol, and the packet is a path MTU message, which only rules that do match.
    PathMtu,
}

impl Mismatch {
    /// In one word.
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

/// The rules of a pod up to the one that decided, in order. `named` are the ports that the pod gives a name.
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

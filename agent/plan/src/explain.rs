//! Why the rules before the one that decided did not match a packet: read from the policies, not from the tables.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    installed::RuleLabel,
    policy::{Block, Peer, Policy, PortMatch, PortSet, Protocol, Rule, Sources},
};

/// A packet for a pod, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Source address.
    pub source: IpAddr,
    /// IP protocol number; of IPv6 the one behind the extension headers.
    pub protocol: u8,
    /// What the transport header says.
    pub transport: Transport,
    /// The rule that decided; `None`: no rule did, so all are asked.
    pub decided: Option<&'a RuleLabel>,
}

/// What a packet says beyond its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
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
pub struct Line {
    /// The rule.
    pub rule: RuleLabel,
    /// Why it did not match. `None`: it matches, so the tables hold something else than these policies.
    pub why: Option<WhyNot>,
}

/// Why a rule does not match a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
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

impl WhyNot {
    /// In one word.
    pub const fn word(self) -> &'static str {
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
    question: &Question<'_>,
) -> Vec<Line> {
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
        .take_while(|(label, _)| question.decided != Some(label))
        .map(|(label, rule)| Line {
            why: why_not(rule, named, question),
            rule: label,
        })
        .collect()
}

fn why_not(
    rule: &Rule,
    named: &BTreeMap<(String, Protocol), u16>,
    question: &Question<'_>,
) -> Option<WhyNot> {
    if !is_from(&rule.from, question.source) {
        return Some(WhyNot::Source);
    }
    if rule.ports.is_empty() {
        return is_path_mtu(question).then_some(WhyNot::PathMtu);
    }
    if question.transport == Transport::LaterFragment {
        return Some(WhyNot::Fragment);
    }
    let is_own = |port: &&PortMatch| number(port.protocol) == question.protocol;
    let mut own = rule.ports.iter().filter(is_own).peekable();
    match question.transport {
        _ if own.peek().is_none() => Some(WhyNot::Protocol),
        // ICMP in IPv6 and ICMPv6 in IPv4 are protocols like any other.
        Transport::Other | Transport::LaterFragment => Some(WhyNot::Protocol),
        Transport::Port(port) => (!own.any(|own| has_port(own, named, port))).then_some(WhyNot::Port),
        Transport::Icmp(kind, code) => (!own.any(|own| has_type(own, kind, code))).then_some(WhyNot::Type),
    }
}

fn is_from(from: &Sources, source: IpAddr) -> bool {
    let has = |block: &Block| {
        block.cidr.contains(&source) && !block.except.iter().any(|except| except.contains(&source))
    };
    match from {
        Sources::Any => true,
        Sources::Peers(peers) => peers
            .iter()
            .any(|peer| matches!(peer, Peer::Block(block) if has(block))),
    }
}

const fn is_path_mtu(question: &Question<'_>) -> bool {
    match (question.transport, question.source) {
        (Transport::Icmp(kind, code), IpAddr::V4(_)) => kind == 3 && code == 4,
        (Transport::Icmp(kind, _), IpAddr::V6(_)) => kind == 2,
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

//! The semantics of `XdpPolicy`, read plainly from the API types, one sentence of the documentation after the other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use xdp_core::verdict::Verdict;
use xdp_crds::{
    Enforcement, IngressRule, IpBlock, LabelSelector, LabelSelectorOperator, Port, Protocol, RuleAction,
    XdpPolicy,
};

use crate::installed::RuleLabel;

use super::packets::{Meaning, PacketSpec};

/// What must become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Passed; no rule decided.
    Untouched,
    /// A rule decided.
    Decided {
        /// Name of its policy.
        policy: String,
        /// Its name.
        rule: String,
        /// What becomes of the packet.
        outcome: Outcome,
    },
}

impl Decision {
    /// The core's verdict in these words.
    ///
    /// # Panics
    ///
    /// When the rule that decided has no label.
    pub fn of(verdict: Verdict, rules: &BTreeMap<u32, RuleLabel>) -> Self {
        let (rule, outcome) = match verdict {
            Verdict::Unparsed(_) | Verdict::NotConsidered | Verdict::NoMatch => return Self::Untouched,
            Verdict::Pass { rule } => (rule, Outcome::Pass),
            Verdict::Audit { rule } => (rule, Outcome::Audit),
            Verdict::Drop { rule } => (rule, Outcome::Drop),
            Verdict::FallBack { rule, .. } => (rule, Outcome::FallBack),
            Verdict::Redirect(redirect) => (
                redirect.metadata.rule(),
                Outcome::Redirect(redirect.metadata.mark()),
            ),
        };
        Self::Decided {
            policy: rules[&rule].policy.clone(),
            rule: rules[&rule].rule.clone(),
            outcome,
        }
    }
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Into the pod, with a mark.
    Redirect(Option<u32>),
    /// To the stack: the pod cannot take this packet.
    FallBack,
    /// To the stack.
    Pass,
    /// Nowhere.
    Drop,
    /// Counted, and to the stack.
    Audit,
}

/// What the oracle must know about the pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Whether it takes redirects.
    pub ready: bool,
    /// Longest IP packet it takes.
    pub mtu: usize,
}

/// Decides about a packet, on a node where `pod` is the only pod and no limit is reached.
///
/// # Panics
///
/// With a policy that is not valid.
pub fn decide(policies: &[XdpPolicy], pod: &Pod, interface: Interface, packet: &PacketSpec) -> Decision {
    let Some(packet) = packet.meaning() else {
        return Decision::Untouched;
    };
    let addresses = pod
        .status
        .iter()
        .flat_map(|status| status.pod_ips.iter().flatten());
    let mut addresses = addresses.map(|address| address.ip.parse::<IpAddr>());
    let is_target = addresses.any(|address| address == Ok(packet.destination));
    if !is_target || is_never_considered(&packet) {
        return Decision::Untouched;
    }
    let mut selecting: Vec<&XdpPolicy> = policies.iter().filter(|policy| selects(policy, pod)).collect();
    selecting.sort_by_key(|policy| {
        let meta = &policy.metadata;
        (
            policy.spec.priority,
            meta.creation_timestamp.clone(),
            meta.name.clone(),
        )
    });
    for policy in selecting {
        if let Some(rule) = policy.spec.ingress.iter().find(|rule| matches(rule, &packet)) {
            return Decision::Decided {
                policy: policy.metadata.name.clone().unwrap_or_default(),
                rule: rule.name.clone(),
                outcome: outcome(policy, rule, interface, &packet),
            };
        }
    }
    Decision::Untouched
}

fn outcome(policy: &XdpPolicy, rule: &IngressRule, interface: Interface, packet: &Meaning) -> Outcome {
    if policy.spec.enforcement == Enforcement::Audit {
        return Outcome::Audit;
    }
    match rule.action {
        RuleAction::Pass => Outcome::Pass,
        RuleAction::Drop => Outcome::Drop,
        RuleAction::Redirect
            if !interface.ready || packet.group_mac || packet.fragment || packet.ip_len > interface.mtu =>
        {
            Outcome::FallBack
        }
        RuleAction::Redirect => {
            Outcome::Redirect(rule.mark.map(|mark| u32::try_from(mark).expect("a valid mark")))
        }
    }
}

/// Neighbour discovery and DHCP.
fn is_never_considered(packet: &Meaning) -> bool {
    let v4 = packet.destination.is_ipv4();
    let discovery = !v4 && packet.icmp.is_some_and(|(kind, _)| (133..=137).contains(&kind));
    let is_dhcp = |port: u16| {
        if v4 {
            port == 67 || port == 68
        } else {
            port == 546 || port == 547
        }
    };
    let both = packet
        .ports
        .is_some_and(|(source, destination)| is_dhcp(source) && is_dhcp(destination));
    discovery || (packet.protocol == Some(17) && both)
}

fn selects(policy: &XdpPolicy, pod: &Pod) -> bool {
    policy.metadata.namespace == pod.metadata.namespace && matches_labels(&policy.spec.pod_selector, pod)
}

fn matches_labels(selector: &LabelSelector, pod: &Pod) -> bool {
    let label = |key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let labels = selector
        .match_labels
        .iter()
        .all(|(key, value)| label(key) == Some(value));
    let expressions = selector.match_expressions.iter().all(|expression| {
        let value = label(&expression.key);
        let listed = value.is_some_and(|value| expression.values.contains(value));
        match expression.operator {
            LabelSelectorOperator::In => listed,
            LabelSelectorOperator::NotIn => !listed,
            LabelSelectorOperator::Exists => value.is_some(),
            LabelSelectorOperator::DoesNotExist => value.is_none(),
        }
    });
    labels && expressions
}

fn matches(rule: &IngressRule, packet: &Meaning) -> bool {
    let from = rule.from.is_empty()
        || rule.from.iter().any(|peer| {
            peer.ip_block
                .as_ref()
                .is_some_and(|block| matches_block(block, packet.source))
        });
    let ports = if rule.ports.is_empty() {
        !is_path_mtu(packet)
    } else {
        rule.ports.iter().any(|port| matches_port(port, packet))
    };
    from && ports
}

fn is_path_mtu(packet: &Meaning) -> bool {
    match packet.icmp {
        Some(icmp) if packet.destination.is_ipv4() => icmp == (3, 4),
        Some((kind, _)) => kind == 2,
        None => false,
    }
}

fn matches_port(port: &Port, packet: &Meaning) -> bool {
    let number = match port.protocol {
        Protocol::Icmp => 1,
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmpv6 => 58,
        Protocol::Sctp => 132,
    };
    let in_range = match (port.port, packet.ports) {
        (None, _) => true,
        (Some(first), Some((_, destination))) => {
            let destination = i32::from(destination);
            first <= destination && destination <= port.end_port.unwrap_or(first)
        }
        (Some(_), None) => false,
    };
    packet.protocol == Some(number) && in_range
}

fn matches_block(block: &IpBlock, source: IpAddr) -> bool {
    is_in(source, &block.cidr) && !block.except.iter().any(|except| is_in(source, except))
}

/// Bit by bit.
fn is_in(source: IpAddr, cidr: &str) -> bool {
    let (network, length) = cidr.split_once('/').expect("a valid network");
    let (network, length): (IpAddr, usize) = (
        network.parse().expect("an address"),
        length.parse().expect("a length"),
    );
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
            .collect()
    };
    source.is_ipv4() == network.is_ipv4() && bits(source)[..length] == bits(network)[..length]
}

//! Matches policies with pods, and rules with packets.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use xdp_crds::{
    IngressRule, IntOrString, IpBlock, LabelSelector, LabelSelectorOperator, Port, Protocol, XdpPolicy,
};

use super::super::packets::PacketFields;

pub(super) fn selects(policy: &XdpPolicy, pod: &Pod) -> bool {
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

/// Matches a rule of one pod with packets.
pub(super) struct Matcher<'a> {
    pub(super) rule: &'a IngressRule,
    pod: &'a Pod,
    /// Networks of the rule's sources, each with its exceptions.
    from: Vec<(Net, Vec<Net>)>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(rule: &'a IngressRule, pod: &'a Pod) -> Self {
        let blocks = rule.from.iter().filter_map(|peer| peer.ip_block.as_ref());
        let nets = |block: &IpBlock| {
            let except = block.except.iter().map(|except| Net::new(except));
            (Net::new(&block.cidr), except.collect())
        };
        Self {
            rule,
            pod,
            from: blocks.map(nets).collect(),
        }
    }

    pub(super) fn matches(&self, packet: &PacketFields) -> bool {
        let in_block = |(net, except): &(Net, Vec<Net>)| {
            net.has(packet.source) && !except.iter().any(|except| except.has(packet.source))
        };
        let from = self.rule.from.is_empty() || self.from.iter().any(in_block);
        let ports = if self.rule.ports.is_empty() {
            !is_path_mtu(packet)
        } else {
            self.rule.ports.iter().any(|port| self.matches_port(port, packet))
        };
        from && ports
    }

    /// Matches protocol, port and type. ICMP matches in IPv4 only, and `ICMPv6` in IPv6 only.
    fn matches_port(&self, port: &Port, packet: &PacketFields) -> bool {
        let v4 = packet.destination.is_ipv4();
        let has_protocol = match port.protocol {
            Protocol::Icmp => packet.protocol == Some(1) && v4,
            Protocol::Tcp => packet.protocol == Some(6),
            Protocol::Udp => packet.protocol == Some(17),
            Protocol::Icmpv6 => packet.protocol == Some(58) && !v4,
            Protocol::Sctp => packet.protocol == Some(132),
        };
        has_protocol && self.has_port(port, packet) && has_type(port, packet)
    }

    fn has_port(&self, port: &Port, packet: &PacketFields) -> bool {
        let first = match &port.port {
            None => return true,
            Some(IntOrString::Int(first)) => Some(*first),
            Some(IntOrString::String(name)) => self.named(name, port.protocol),
        };
        first.is_some_and(|first| {
            let range = first..=port.end_port.unwrap_or(first);
            packet
                .ports
                .is_some_and(|(_, destination)| range.contains(&i32::from(destination)))
        })
    }

    /// Returns the pod's port of this name, or the first one of several.
    pub(super) fn named(&self, name: &str, protocol: Protocol) -> Option<i32> {
        let protocol = match protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
            Protocol::Icmp | Protocol::Icmpv6 => return None,
        };
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        let found = ports.find(|port| {
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        });
        found.map(|port| port.container_port)
    }
}

fn has_type(port: &Port, packet: &PacketFields) -> bool {
    let is = |wanted: Option<i32>, there: u8| wanted.is_none_or(|wanted| wanted == i32::from(there));
    match packet.icmp {
        Some((kind, code)) => is(port.kind, kind) && is(port.code, code),
        None => port.kind.is_none(),
    }
}

fn is_path_mtu(packet: &PacketFields) -> bool {
    match packet.icmp {
        Some(icmp) if packet.destination.is_ipv4() => icmp == (3, 4),
        Some((kind, _)) => kind == 2,
        None => false,
    }
}

/// A network: address family, bits and prefix length.
struct Net {
    v4: bool,
    bits: u128,
    length: u32,
}

impl Net {
    fn new(cidr: &str) -> Self {
        let (network, length) = cidr.split_once('/').expect("a valid network");
        let (v4, bits) = aligned(network.parse().expect("an address"));
        Self {
            v4,
            bits,
            length: length.parse().expect("a length"),
        }
    }

    fn has(&self, source: IpAddr) -> bool {
        let (v4, bits) = aligned(source);
        v4 == self.v4 && (bits ^ self.bits).leading_zeros() >= self.length
    }
}

/// Returns the family and the bits of an address, left-aligned.
fn aligned(ip: IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => (true, u128::from(u32::from(ip)) << 96),
        IpAddr::V6(ip) => (false, ip.into()),
    }
}

//! Decides about packets that cannot be parsed to their ports: by all packets that they could be.

use std::{collections::BTreeSet, net::IpAddr};

use xdp_crds::{Enforcement, IntOrString, RuleAction, XdpPolicy};

use super::{Oracle, matching::Matcher};
use crate::testing::packets::{PacketFields, PacketSpec};

/// A protocol that no rule can name.
const OTHER: u8 = 47;

impl Oracle<'_> {
    /// Returns whether a rule that drops decides about any packet from this source that this packet could be.
    pub(super) fn could_drop(&self, packet: &PacketSpec, protocol: Option<u8>) -> bool {
        let any = if packet.destination.is_ipv4() {
            [6, 17, 132, 1, OTHER]
        } else {
            [6, 17, 132, 58, OTHER]
        };
        let protocols = protocol.map_or(any.to_vec(), |known| vec![known]);
        let numbers = self.numbers();
        protocols.into_iter().any(|protocol| {
            let mut candidates = numbers
                .iter()
                .map(|number| candidate(packet.source, packet.destination, protocol, *number));
            candidates.any(|candidate| self.first(&candidate).is_some_and(drops))
        })
    }

    /// Returns ports, and types and codes of ICMP, such that each rule matches one of them before the others.
    fn numbers(&self) -> BTreeSet<u16> {
        let mut numbers = BTreeSet::from([0, u16::MAX]);
        for (_, matcher) in &self.rules {
            for port in &matcher.rule.ports {
                let first = match &port.port {
                    Some(IntOrString::Int(first)) => Some(*first),
                    Some(IntOrString::String(name)) => matcher.named(name, port.protocol),
                    None => port.kind.map(|kind| kind << 8 | port.code.unwrap_or(0)),
                };
                let Some(first) = first else { continue };
                let last = port.end_port.unwrap_or(first | port.kind.map_or(0, |_| 0xff));
                let around = [first, last.saturating_add(1)].map(|number| number as u16);
                numbers.extend(
                    around
                        .iter()
                        .flat_map(|at| [at.wrapping_sub(1), *at, at.wrapping_add(1)]),
                );
            }
        }
        // Around the path MTU messages, which rules without `ports` do not match.
        numbers.extend([0x1ff, 0x200, 0x300, 0x303, 0x304, 0x305]);
        numbers
    }
}

/// Returns the packet with this protocol, and this port, or type and code. Its source port is not one of
/// DHCP: control traffic is only what can be read as such.
fn candidate(source: IpAddr, destination: IpAddr, protocol: u8, number: u16) -> PacketFields {
    let [kind, code] = number.to_be_bytes();
    let is_icmp = matches!(protocol, 1 | 58);
    PacketFields {
        source,
        destination,
        protocol: Some(protocol),
        ports: [6, 17, 132].contains(&protocol).then_some((0xc001, number)),
        icmp: is_icmp.then_some((kind, code)),
        ip_len: 40,
        group_mac: false,
        options: false,
        fragment: false,
    }
}

fn drops((policy, matcher): &(&XdpPolicy, Matcher<'_>)) -> bool {
    let is_drop = matches!(matcher.rule.action, RuleAction::Drop | RuleAction::Reject);
    policy.spec.enforcement == Enforcement::Enforce && (is_drop || matcher.rule.rate_limit.is_some())
}

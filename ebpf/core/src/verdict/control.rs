//! Control traffic that a network depends on: no rule matches it. (Path MTU messages, which match only rules
//! that name their protocol, are handled by the compiler of the tables.)

use crate::parse::{Packet, UpperKind, protocol};

const DHCP_V4: [u32; 2] = [67, 68];
const DHCP_V6: [u32; 2] = [546, 547];
/// Router and neighbour solicitation and advertisement, redirect.
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u32> = 133..=137;

/// Whether the packet is neighbour discovery or DHCP.
#[inline(always)]
pub(super) fn is_control(packet: &Packet) -> bool {
    let (kind, word) = packet.upper();
    match kind {
        UpperKind::Ports => {
            let dhcp = if packet.destination.is_v4() {
                DHCP_V4
            } else {
                DHCP_V6
            };
            let is_one = |port| port == dhcp[0] || port == dhcp[1];
            packet.protocol == protocol::UDP && is_one(word >> 16) && is_one(word & 0xffff)
        }
        UpperKind::Icmp => packet.protocol == protocol::ICMPV6 && NEIGHBOUR_DISCOVERY.contains(&(word >> 24)),
        UpperKind::Other | UpperKind::LaterFragment | UpperKind::Unparsed => false,
    }
}

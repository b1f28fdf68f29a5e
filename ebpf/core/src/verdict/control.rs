//! Traffic without which a network does not work, and which no rule reaches. (What only rules that name it reach, path MTU
//! messages, is in the tables: their compiler sees to it.)

use crate::parse::{Kind, Packet, protocol};

const DHCP_V4: [u32; 2] = [67, 68];
const DHCP_V6: [u32; 2] = [546, 547];
/// Router and neighbour solicitation and advertisement, redirect.
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u32> = 133..=137;

/// Neighbour discovery and DHCP: no rule is asked.
#[inline(always)]
pub(super) fn is_control(packet: &Packet) -> bool {
    let (kind, word) = packet.upper();
    match kind {
        Kind::Ports => {
            let dhcp = if packet.destination.is_v4() {
                DHCP_V4
            } else {
                DHCP_V6
            };
            let is_one = |port| port == dhcp[0] || port == dhcp[1];
            packet.protocol == protocol::UDP && is_one(word >> 16) && is_one(word & 0xffff)
        }
        Kind::Icmp => packet.protocol == protocol::ICMPV6 && NEIGHBOUR_DISCOVERY.contains(&(word >> 24)),
        Kind::Other | Kind::LaterFragment => false,
    }
}

//! Traffic without which a network does not work, and which no rule reaches. (What only rules that name it reach, path MTU
//! messages, is in the tables: their compiler sees to it.)

use crate::parse::{Packet, Transport, protocol};

const DHCP_V4: [u16; 2] = [67, 68];
const DHCP_V6: [u16; 2] = [546, 547];
/// Router and neighbour solicitation and advertisement, redirect.
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// Neighbour discovery and DHCP: no rule is asked.
#[inline(always)]
pub(super) fn is_control(packet: &Packet) -> bool {
    match packet.transport {
        Transport::Ports { source, destination } => {
            let dhcp = if packet.destination.is_v4() {
                DHCP_V4
            } else {
                DHCP_V6
            };
            packet.protocol == protocol::UDP && dhcp.contains(&source) && dhcp.contains(&destination)
        }
        Transport::Icmp { kind, .. } => {
            packet.protocol == protocol::ICMPV6 && NEIGHBOUR_DISCOVERY.contains(&kind)
        }
        Transport::Other | Transport::LaterFragment => false,
    }
}

//! The packet that an ICMP error quotes: an IP packet of the opposite direction, cut off somewhere after the
//! first eight bytes of its transport header (RFC 792, RFC 4443).

use super::{
    direction::{Direction, echo_ports, flow_key, ports},
    view::TransportView,
};
use crate::{
    parse::{Bytes, IpBytes, ipv6, protocol},
    tables::{Address, FlowKey},
};

const ICMP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const OFFSET_MASK: u16 = 0x1fff;

/// Returns the flow of the quoted packet. `None` if that is a fragment without ports, has an untracked
/// protocol, or was not sent by, or to, the pod.
#[inline(always)]
pub(super) fn flow<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    error: &TransportView,
    direction: Direction,
) -> Option<FlowKey> {
    let start = error.upper as usize + ICMP_HEADER;
    let quoted = if error.protocol as u8 == protocol::ICMP {
        v4(ip, start, error.end)?
    } else {
        v6(ip, start, error.end)?
    };
    let head: [u8; 8] = ip.fetch(ip.bytes.opaque(quoted.upper) as usize).ok()?;
    let reverse = direction.reverse();
    let pair = match quoted.protocol as u8 {
        protocol::TCP | protocol::UDP | protocol::SCTP => ports([head[0], head[1], head[2], head[3]]),
        protocol::ICMP | protocol::ICMPV6 if head[0] == reverse.echo(quoted.protocol as u8) => {
            echo_ports(head, reverse)
        }
        // An echo request of the pod.
        protocol::ICMP | protocol::ICMPV6 if head[0] == direction.echo(quoted.protocol as u8) => {
            echo_ports(head, direction)
        }
        _ => return None,
    };
    let is_about_pod = match direction {
        Direction::ToPod => quoted.source == error.destination,
        Direction::FromPod => quoted.destination == error.source,
    };
    is_about_pod.then(|| flow_key(&quoted, pair, reverse))
}

#[inline(always)]
fn v4<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, start: usize, end: u32) -> Option<TransportView> {
    let header: [u8; IPV4_HEADER] = ip.fetch(start).ok()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let usable = header[0] >> 4 == 4 && header_len >= IPV4_HEADER && fragment & OFFSET_MASK == 0;
    usable.then(|| TransportView {
        source: Address::v4([header[12], header[13], header[14], header[15]]),
        destination: Address::v4([header[16], header[17], header[18], header[19]]),
        protocol: u32::from(header[9]),
        upper: (start + header_len) as u32,
        end,
    })
}

#[inline(always)]
fn v6<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, start: usize, end: u32) -> Option<TransportView> {
    let [version, _, _, _, _, _, next, _]: [u8; 8] = ip.fetch(start).ok()?;
    // The addresses may lie beyond the end of the IP packet: then `walk`, which reads behind them, finds no
    // transport header.
    let source = ipv6::address(ip.bytes, start + 8).ok()?;
    let destination = ipv6::address(ip.bytes, start + 24).ok()?;
    let last = ipv6::walk(ip, start + IPV6_HEADER, next);
    let usable = version >> 4 == 6 && last.has_transport();
    usable.then(|| TransportView {
        source,
        destination,
        protocol: u32::from(last.protocol),
        upper: last.offset,
        end,
    })
}

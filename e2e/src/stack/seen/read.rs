//! Reads frames that arrived.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        draft::{LABEL, TOS, sum},
        host::{Host, Place},
        upper::{ICMP, ICMP6, MAGIC, SEQUENCE, TCP},
    },
    Seen, SeenPacket,
};

/// Returns what a frame is, and the numbers of the frames in it: after GRO there may be more than one.
pub(super) fn read(place: Place, frame: &[u8]) -> (Seen, Vec<u32>) {
    let (mut at, mut tags) = (12, 0);
    while matches!(frame.get(at..at + 2), Some([0x81 | 0x91, 0] | [0x88, 0xa8])) {
        at += 4;
        tags += 1;
    }
    let (packet, recovered) = match frame.get(at..at + 2) {
        Some([8, 0]) => read_v4(&frame[at + 2..]),
        Some([0x86, 0xdd]) => read_v6(&frame[at + 2..]),
        _ => (None, None),
    };
    let mut ids = numbers(frame);
    if ids.is_empty() {
        ids.extend(recovered);
    }
    if packet.as_ref().is_some_and(is_of_no_account) || is_discarded(&frame[at.min(frame.len())..]) {
        ids.clear();
    }
    let seen = Seen {
        place,
        by_socket: false,
        tags,
        packet,
    };
    (seen, ids)
}

/// Whether the node's own stack reports that a route or a neighbour is missing. It takes the packet to do
/// that, and limits these reports by peer and time.
fn is_of_no_account(packet: &SeenPacket) -> bool {
    const NODE: [Host; 3] = [Host::NodeNic, Host::NodeNic1, Host::NodeBridge];
    let v6 = packet.from.is_ipv6();
    let is_missing = match packet.icmp {
        Some([3, 0 | 1]) => !v6,
        Some([1, 0 | 3]) => v6,
        _ => false,
    };
    is_missing && NODE.iter().any(|host| host.address(v6) == packet.from)
}

/// Whether every receiver discards the packet, because the checksum of its IPv4 header is wrong. A pod's
/// socket that receives it all the same is noted.
fn is_discarded(from_ethertype: &[u8]) -> bool {
    let Some(packet) = from_ethertype.strip_prefix(&[8, 0]) else {
        return false;
    };
    let length = usize::from(packet.first().map_or(0, |first| first & 15)) * 4;
    packet
        .get(..length)
        .is_some_and(|header| sum(&[header]) != 0xffff)
}

/// Returns the numbers of the frames whose payloads are in these bytes.
pub(super) fn numbers(bytes: &[u8]) -> Vec<u32> {
    let number = |window: &[u8]| {
        let number = window.strip_prefix(&MAGIC)?;
        Some(u32::from_be_bytes(number.try_into().ok()?))
    };
    bytes.windows(8).filter_map(number).collect()
}

fn read_v4(bytes: &[u8]) -> (Option<SeenPacket>, Option<u32>) {
    let Some(header) = bytes.first_chunk::<20>() else {
        return (None, None);
    };
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let upper = bytes.get(usize::from(header[0] & 15) * 4..).unwrap_or_default();
    let protocol = header[9];
    let packet = SeenPacket {
        from: address(12).into(),
        to: address(16).into(),
        protocol,
        icmp: (protocol == ICMP).then(|| icmp(upper)).flatten(),
    };
    let own = (header[1] == TOS).then_some(u16::from_be_bytes([header[4], header[5]]));
    (Some(packet), answer(protocol, upper).or(own.map(u32::from)))
}

fn read_v6(bytes: &[u8]) -> (Option<SeenPacket>, Option<u32>) {
    let Some(header) = bytes.first_chunk::<40>() else {
        return (None, None);
    };
    let address = |at: usize| {
        let octets: [u8; 16] = std::array::from_fn(|index| header[at + index]);
        IpAddr::from(Ipv6Addr::from(octets))
    };
    let protocol = header[6];
    let packet = SeenPacket {
        from: address(8),
        to: address(24),
        protocol,
        icmp: (protocol == ICMP6).then(|| icmp(&bytes[40..])).flatten(),
    };
    // Not the traffic class in the first byte: a case may change that byte.
    let is_own = header[1] == TOS << 4 | LABEL;
    let own = is_own.then_some(u16::from_be_bytes([header[2], header[3]]));
    (
        Some(packet),
        answer(protocol, &bytes[40..]).or(own.map(u32::from)),
    )
}

fn icmp(upper: &[u8]) -> Option<[u8; 2]> {
    upper.first_chunk().copied()
}

/// Returns the number of the segment that a TCP segment without payload answers.
fn answer(protocol: u8, upper: &[u8]) -> Option<u32> {
    const ACK: u8 = 16;
    let header = upper.first_chunk::<20>().filter(|_| protocol == TCP)?;
    let number = if header[13] & ACK == 0 {
        &header[4..8]
    } else {
        &header[8..12]
    };
    (number[0] == SEQUENCE).then(|| u16::from_be_bytes([number[1], number[2]]).into())
}

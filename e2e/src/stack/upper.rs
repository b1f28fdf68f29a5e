//! Transport headers, and the payload by which a frame is recognised.

use std::net::IpAddr;

use super::{
    case::{IcmpError, Upper},
    draft::{Draft, pseudo, sum},
};

/// The beginning of every payload; the frame's number follows.
pub(super) const MAGIC: [u8; 4] = *b"xdpO";
/// The first byte of TCP's sequence and acknowledgement numbers: a reset has no payload.
pub(super) const SEQUENCE: u8 = 0xa5;

/// The ends of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) from_port: u16,
    pub(super) to_port: u16,
}

/// Returns the payload of a frame.
pub(super) fn payload(id: u32) -> Vec<u8> {
    let mut payload = MAGIC.to_vec();
    payload.extend(id.to_be_bytes());
    payload.extend([0x5a; 8]);
    payload
}

/// Returns the IP protocol, and the bytes that follow the IP headers.
pub(super) fn upper(kind: Upper, ends: &Ends, id: u32) -> (u8, Vec<u8>) {
    let v6 = ends.from.is_ipv6();
    let (protocol, mut bytes) = match kind {
        Upper::Udp => (UDP, udp(ends, id)),
        Upper::Tcp(flags) => (TCP, tcp(ends, flags, id)),
        Upper::Sctp(chunk) => (132, sctp(ends, chunk, id)),
        Upper::Echo => icmp(v6, [8, 128], 0, ends, &payload(id)),
        Upper::EchoReply => icmp(v6, [0, 129], 0, ends, &payload(id)),
        Upper::Icmp(kind) => icmp(v6, [kind, kind], 0, ends, &payload(id)),
        // The error quotes a packet of the flow in the other direction.
        Upper::Error(error, from, to) => {
            let inner = Ends {
                from: from.address(v6),
                to: to.address(v6),
                from_port: ends.to_port,
                to_port: ends.from_port,
            };
            let (kinds, code) = match error {
                IcmpError::Unreachable => ([3, 1], 1),
                IcmpError::TooBig => ([3, 2], if v6 { 0 } else { 4 }),
                IcmpError::TimeExceeded => ([11, 3], 0),
                IcmpError::Redirect => ([5, 137], 0),
            };
            icmp(v6, kinds, code, ends, &quoted(&inner, id))
        }
        Upper::Esp => (50, [&[0, 0, 0, 7, 0, 0, 0, 1][..], &payload(id)].concat()),
        Upper::Ah => (51, [&AH[..], &udp(ends, id)].concat()),
        Upper::Protocol(protocol) => (protocol, payload(id)),
    };
    let inner = pseudo(ends.from, ends.to, protocol, bytes.len());
    let at = match kind {
        Upper::Udp => Some(6),
        Upper::Tcp(_) => Some(16),
        _ if matches!(protocol, ICMP | ICMP6) => Some(2),
        _ => None,
    };
    if let Some(at) = at {
        let parts: &[&[u8]] = if protocol == ICMP {
            &[&bytes]
        } else {
            &[&inner, &bytes]
        };
        let sum = !sum(parts);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    (protocol, bytes)
}

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMP6: u8 = 58;
/// Followed by UDP.
const AH: [u8; 24] = [
    UDP, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
];

fn ports(ends: &Ends) -> Vec<u8> {
    [ends.from_port.to_be_bytes(), ends.to_port.to_be_bytes()].concat()
}

fn udp(ends: &Ends, id: u32) -> Vec<u8> {
    let payload = payload(id);
    let [l0, l1] = (8 + payload.len() as u16).to_be_bytes();
    [&ports(ends)[..], &[l0, l1, 0, 0], &payload].concat()
}

fn tcp(ends: &Ends, flags: u8, id: u32) -> Vec<u8> {
    let [i0, i1] = (id as u16).to_be_bytes();
    let number = [SEQUENCE, i0, i1, 0];
    let rest = [0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    [&ports(ends)[..], &number, &number, &rest, &payload(id)].concat()
}

fn sctp(ends: &Ends, chunk: u8, id: u32) -> Vec<u8> {
    // No verification tag and no checksum: no pod has SCTP, and nothing on the way reads them.
    let mut packet = [&ports(ends)[..], &[0; 8]].concat();
    let payload = [&[0; 16][..], &payload(id)].concat();
    let [l0, l1] = (4 + payload.len() as u16).to_be_bytes();
    packet.extend([chunk, 0, l0, l1]);
    packet.extend(payload);
    packet
}

fn icmp(v6: bool, kinds: [u8; 2], code: u8, ends: &Ends, rest: &[u8]) -> (u8, Vec<u8>) {
    // The identifier of an echo is the client's port, and 1280 the MTU of an error.
    let client = if ends.from_port > ends.to_port {
        ends.from_port
    } else {
        ends.to_port
    };
    let [c0, c1] = client.to_be_bytes();
    let kind = kinds[usize::from(v6)];
    let word = match (kind, v6) {
        (0 | 8, false) | (128 | 129, true) => [c0, c1, 0, 1],
        _ => [0, 0, 5, 0],
    };
    let message = [&[kind, code, 0, 0][..], &word, rest].concat();
    (if v6 { ICMP6 } else { ICMP }, message)
}

fn quoted(ends: &Ends, id: u32) -> Vec<u8> {
    let (protocol, upper) = upper(Upper::Udp, ends, id);
    let inner = Draft::new([[0; 6]; 2], ends, id, (protocol, upper));
    inner.frame().split_off(14)
}

impl Draft {
    /// Describes an ordinary packet.
    pub(super) fn new(macs: [[u8; 6]; 2], ends: &Ends, id: u32, upper: (u8, Vec<u8>)) -> Self {
        let [to_mac, from_mac] = macs;
        let (protocol, upper) = upper;
        Self {
            to_mac,
            from_mac,
            tags: Vec::new(),
            ethertype: None,
            from: ends.from,
            to: ends.to,
            ttl: 64,
            id: id as u16,
            options: Vec::new(),
            fragment: 0,
            extensions: Vec::new(),
            protocol,
            upper,
            first_byte: None,
            more_length: 0,
            bad_header_checksum: false,
            truncated: 0,
            padding: 0,
            bytes: Vec::new(),
        }
    }
}

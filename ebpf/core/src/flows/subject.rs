//! Which flow a packet belongs to, and what it does there.

use super::quoted;
use crate::parse::{Bytes, IpBytes, Kind, Packet, protocol};
use crate::tables::{Address, FlowKey};

/// What a packet means to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Role {
    /// Opens a connection: TCP with SYN and without ACK, SCTP with INIT.
    Opens = 1,
    /// May be the first one of a flow without connection, or not: UDP; ICMP echo, requests to a pod and replies from one.
    Datagram = 2,
    /// TCP and SCTP but the above.
    Follows = 3,
    /// An ICMP error: the flow is that of the packet it quotes.
    Error = 4,
    /// Anything else.
    Other = 5,
}

/// Where a packet is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a pod.
    In,
    /// From one.
    Out,
}

impl Way {
    const fn back(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }

    /// ICMP and `ICMPv6` type of echoes that belong to a flow to the pod.
    #[inline(always)]
    pub(super) const fn echo(self, icmp: u8) -> u8 {
        match (self, icmp) {
            (Self::In, protocol::ICMP) => 8,
            (Self::Out, protocol::ICMP) => 0,
            (Self::In, _) => 128,
            (Self::Out, _) => 129,
        }
    }
}

/// Where to look in a packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Segment {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP protocol number; zero if there is no transport header to look at.
    pub protocol: u32,
    /// Offset of the transport header.
    pub upper: u32,
    /// Offset of the end of the IP packet.
    pub end: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Segment {
    /// Of a packet that was parsed.
    #[inline(always)]
    pub fn of(packet: &Packet) -> Self {
        let (kind, _) = packet.upper();
        let has_transport = matches!(kind, Kind::Ports | Kind::Icmp);
        Self {
            source: packet.source,
            destination: packet.destination,
            protocol: if has_transport {
                u32::from(packet.protocol)
            } else {
                0
            },
            upper: packet.upper_offset,
            end: packet.ip_offset() as u32 + packet.ip_len,
            reserved: 0,
        }
    }
}

/// A packet's flow, and its role there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The flow; all zero if there is none, which is in no table.
    pub key: FlowKey,
    /// What the packet does.
    pub role: Role,
    /// Whether it shows, coming from a pod, that the pod has accepted the flow: it neither opens nor refuses it. Of a TCP
    /// handshake the packets with SYN do not, so that a flood of them moves nothing, nor does the INIT ACK of SCTP.
    pub settles: bool,
}

const ACK: u8 = 0x10;
const RST: u8 = 4;
const SYN: u8 = 2;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;

impl Subject {
    const NONE: Self = Self {
        key: FlowKey {
            remote: Address { high: 0, low: 0 },
            pod: Address { high: 0, low: 0 },
            remote_port: 0,
            pod_port: 0,
            protocol: 0,
        },
        role: Role::Other,
        settles: false,
    };

    /// Looks at the transport header, and at what an ICMP error quotes.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, segment: &Segment, way: Way) -> Self {
        let ip = IpBytes {
            bytes,
            end: segment.end as usize,
        };
        read(&ip, segment, way).unwrap_or(Self::NONE)
    }
}

#[inline(always)]
fn read<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, segment: &Segment, way: Way) -> Option<Subject> {
    let upper = segment.upper as usize;
    let head: [u8; 8] = ip.read(upper).ok()?;
    let protocol = segment.protocol as u8;
    let (role, settles) = match protocol {
        protocol::TCP => {
            let [flags] = ip.read(upper + 13).ok()?;
            let opens = flags & (SYN | ACK | RST) == SYN;
            (follows_unless(opens), flags & (SYN | RST) == 0)
        }
        protocol::SCTP => {
            let [chunk] = ip.read(upper + 12).ok()?;
            let settles = !matches!(chunk, INIT | INIT_ACK | ABORT);
            (follows_unless(chunk == INIT), settles)
        }
        protocol::UDP => (Role::Datagram, true),
        protocol::ICMP | protocol::ICMPV6 => return icmp(ip, segment, head, way),
        _ => return None,
    };
    let key = key(segment, ports(head), way);
    Some(Subject { key, role, settles })
}

#[inline(always)]
const fn follows_unless(opens: bool) -> Role {
    if opens { Role::Opens } else { Role::Follows }
}

#[inline(always)]
fn icmp<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    segment: &Segment,
    head: [u8; 8],
    way: Way,
) -> Option<Subject> {
    let protocol = segment.protocol as u8;
    if head[0] == way.echo(protocol) {
        return Some(Subject {
            key: key(segment, echo_ports(head, way), way),
            role: Role::Datagram,
            settles: true,
        });
    }
    let is_error = match protocol {
        // Unreachable (with "fragmentation needed"), time exceeded, parameter problem.
        protocol::ICMP => matches!(head[0], 3 | 11 | 12),
        // The same, and packet too big.
        _ => matches!(head[0], 1..=4),
    };
    is_error.then(|| Subject {
        key: quoted::key(ip, segment, way).unwrap_or(Subject::NONE.key),
        role: Role::Error,
        settles: false,
    })
}

/// Source and destination port.
#[inline(always)]
pub(super) const fn ports(head: [u8; 8]) -> [u16; 2] {
    [
        u16::from_be_bytes([head[0], head[1]]),
        u16::from_be_bytes([head[2], head[3]]),
    ]
}

/// The identifier in place of the remote port.
#[inline(always)]
pub(super) const fn echo_ports(head: [u8; 8], way: Way) -> [u16; 2] {
    let identifier = u16::from_be_bytes([head[4], head[5]]);
    match way {
        Way::In => [identifier, 0],
        Way::Out => [0, identifier],
    }
}

/// The flow as its packets to the pod have it.
#[inline(always)]
pub(super) const fn key(segment: &Segment, [source, destination]: [u16; 2], way: Way) -> FlowKey {
    let protocol = segment.protocol;
    match way {
        Way::In => FlowKey {
            remote: segment.source,
            pod: segment.destination,
            remote_port: source,
            pod_port: destination,
            protocol,
        },
        Way::Out => FlowKey {
            remote: segment.destination,
            pod: segment.source,
            remote_port: destination,
            pod_port: source,
            protocol,
        },
    }
}

/// Of the packet that an error on this way is about.
#[inline(always)]
pub(super) const fn quoted_way(way: Way) -> Way {
    way.back()
}

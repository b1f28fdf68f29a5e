//! Which flow a packet belongs to, and what it does there.

use super::{quoted, segment::Segment};
use crate::{
    parse::{Bytes, IpBytes, protocol},
    tables::{Address, FlowKey},
};

/// What a packet means to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Role {
    /// Opens a connection: TCP with SYN and without ACK, SCTP with INIT.
    Opens = 1,
    /// May be the first one of a flow without connection, or not: UDP; ICMP echo, requests to a pod and replies from one.
    Datagram = 2,
    /// TCP and SCTP but these two.
    Follows = 3,
    /// The same, but it does not show that the flow is accepted: TCP with SYN or RST, SCTP with INIT ACK or ABORT. So a
    /// flood of opening packets moves no flow among the accepted ones, whether it is answered or refused.
    Unsettled = 4,
    /// An ICMP error: the flow is that of the packet it quotes.
    Error = 5,
    /// Anything else.
    Other = 6,
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

/// A packet's flow, and its role there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Subject {
    /// The flow; all zero if there is none, which is in no table.
    pub key: FlowKey,
    /// What the packet does.
    pub role: Role,
}

const ACK: u8 = 0x10;
const RST: u8 = 4;
const SYN: u8 = 2;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;

impl Subject {
    /// Of no flow.
    pub const NONE: Self = Self {
        key: FlowKey {
            remote: Address { high: 0, low: 0 },
            pod: Address { high: 0, low: 0 },
            remote_port: 0,
            pod_port: 0,
            protocol: 0,
        },
        role: Role::Other,
    };

    /// Looks at the transport header, and at what an ICMP error quotes.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, segment: &Segment, way: Way) -> Self {
        if segment.is_icmp() {
            Self::of_icmp(bytes, segment, way)
        } else {
            Self::of_ports(bytes, segment, way)
        }
    }

    /// The same of anything but ICMP.
    #[inline(always)]
    pub fn of_ports<B: Bytes + ?Sized>(bytes: &B, segment: &Segment, way: Way) -> Self {
        ports_subject(&segment.bytes(bytes), segment, way).unwrap_or(Self::NONE)
    }

    /// The same of ICMP.
    #[inline(always)]
    pub fn of_icmp<B: Bytes + ?Sized>(bytes: &B, segment: &Segment, way: Way) -> Self {
        icmp_subject(&segment.bytes(bytes), segment, way).unwrap_or(Self::NONE)
    }
}

#[inline(always)]
fn ports_subject<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, segment: &Segment, way: Way) -> Option<Subject> {
    let upper = segment.upper as usize;
    let head: [u8; 4] = ip.read(upper).ok()?;
    let role = match segment.protocol as u8 {
        protocol::TCP => {
            let [flags] = ip.read(upper + 13).ok()?;
            tcp_role(flags)
        }
        protocol::SCTP => {
            let [chunk] = ip.read(upper + 12).ok()?;
            sctp_role(chunk)
        }
        protocol::UDP => Role::Datagram,
        _ => return None,
    };
    let key = key(segment, ports(head), way);
    Some(Subject { key, role })
}

#[inline(always)]
const fn tcp_role(flags: u8) -> Role {
    match flags & (SYN | RST) {
        0 => Role::Follows,
        SYN if flags & ACK == 0 => Role::Opens,
        _ => Role::Unsettled,
    }
}

#[inline(always)]
const fn sctp_role(chunk: u8) -> Role {
    match chunk {
        INIT => Role::Opens,
        INIT_ACK | ABORT => Role::Unsettled,
        _ => Role::Follows,
    }
}

#[inline(always)]
fn icmp_subject<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, segment: &Segment, way: Way) -> Option<Subject> {
    let protocol = segment.protocol as u8;
    let head: [u8; 8] = ip.read(segment.upper as usize).ok()?;
    if head[0] == way.echo(protocol) {
        return Some(Subject {
            key: key(segment, echo_ports(head, way), way),
            role: Role::Datagram,
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
    })
}

/// Source and destination port.
#[inline(always)]
pub(super) const fn ports(head: [u8; 4]) -> [u16; 2] {
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

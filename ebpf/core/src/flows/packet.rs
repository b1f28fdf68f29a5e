//! Which flow a packet belongs to, and what it means to that flow.

use super::{
    direction::{Direction, echo_ports, flow_key, ports},
    quoted,
    view::TransportView,
};
use crate::{
    parse::{Bytes, IpBytes, protocol},
    tables::{Address, FlowKey},
};

/// What a packet means to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum PacketRole {
    /// Opens a connection (conntrack's `NEW`): TCP SYN without ACK, SCTP INIT.
    New = 1,
    /// A datagram, which may or may not open a flow: UDP; ICMP echo requests to a pod and echo replies from a
    /// pod.
    Datagram = 2,
    /// A later packet of a connection that both ends accepted (`ESTABLISHED`): all other TCP and SCTP
    /// packets.
    Data = 3,
    /// A later packet that does not prove that the pod accepted the connection: TCP with SYN or RST, SCTP
    /// INIT ACK or ABORT. So a flood of opening packets moves no flow to [`super::FlowMap::Established`],
    /// whether the pod answers or refuses them.
    Inconclusive = 4,
    /// An ICMP error (`RELATED`): its flow is that of the packet which it quotes.
    Related = 5,
    /// Any other packet (`UNTRACKED`).
    Untracked = 6,
    /// A packet of an ICMP echo that the pod sends: a request from it, or a reply to it. It is not tracked.
    OwnEcho = 7,
}

/// A packet's flow, and its role there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowPacket {
    /// The flow; all zero, which is in no table, if there is none.
    pub key: FlowKey,
    /// The packet's role.
    pub role: PacketRole,
}

const ACK: u8 = 0x10;
const RST: u8 = 4;
const SYN: u8 = 2;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;

impl FlowPacket {
    /// A packet without a flow.
    pub const NONE: Self = Self {
        key: FlowKey {
            remote: Address { high: 0, low: 0 },
            pod: Address { high: 0, low: 0 },
            remote_port: 0,
            pod_port: 0,
            protocol: 0,
        },
        role: PacketRole::Untracked,
    };

    /// Reads the transport header, and the packet that an ICMP error quotes.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, view: &TransportView, direction: Direction) -> Self {
        if view.is_icmp() {
            Self::of_icmp(bytes, view, direction)
        } else {
            Self::of_ports(bytes, view, direction)
        }
    }

    /// Reads the transport header of any protocol but ICMP.
    #[inline(always)]
    pub fn of_ports<B: Bytes + ?Sized>(bytes: &B, view: &TransportView, direction: Direction) -> Self {
        with_ports(&view.bytes(bytes), view, direction).unwrap_or(Self::NONE)
    }

    /// Reads an ICMP message, and the packet that an ICMP error quotes.
    #[inline(always)]
    pub fn of_icmp<B: Bytes + ?Sized>(bytes: &B, view: &TransportView, direction: Direction) -> Self {
        icmp(&view.bytes(bytes), view, direction).unwrap_or(Self::NONE)
    }
}

#[inline(always)]
fn with_ports<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    view: &TransportView,
    direction: Direction,
) -> Option<FlowPacket> {
    let upper = view.upper as usize;
    let head: [u8; 4] = ip.read(upper).ok()?;
    let role = match view.protocol as u8 {
        protocol::TCP => {
            let [flags] = ip.read(upper + 13).ok()?;
            tcp_role(flags)
        }
        protocol::SCTP => {
            let [chunk] = ip.read(upper + 12).ok()?;
            sctp_role(chunk)
        }
        protocol::UDP => PacketRole::Datagram,
        _ => return None,
    };
    let key = flow_key(view, ports(head), direction);
    Some(FlowPacket { key, role })
}

#[inline(always)]
const fn tcp_role(flags: u8) -> PacketRole {
    match flags & (SYN | RST) {
        0 => PacketRole::Data,
        SYN if flags & ACK == 0 => PacketRole::New,
        _ => PacketRole::Inconclusive,
    }
}

#[inline(always)]
const fn sctp_role(chunk: u8) -> PacketRole {
    match chunk {
        INIT => PacketRole::New,
        INIT_ACK | ABORT => PacketRole::Inconclusive,
        _ => PacketRole::Data,
    }
}

#[inline(always)]
fn icmp<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    view: &TransportView,
    direction: Direction,
) -> Option<FlowPacket> {
    let protocol = view.protocol as u8;
    let head: [u8; 8] = ip.read(view.upper as usize).ok()?;
    if head[0] == direction.echo(protocol) {
        return Some(FlowPacket {
            key: flow_key(view, echo_ports(head, direction), direction),
            role: PacketRole::Datagram,
        });
    }
    let reverse = direction.reverse();
    if head[0] == reverse.echo(protocol) {
        return Some(FlowPacket {
            key: flow_key(view, echo_ports(head, reverse), direction),
            role: PacketRole::OwnEcho,
        });
    }
    let is_error = match protocol {
        // Destination unreachable (with "fragmentation needed"), time exceeded, parameter problem.
        protocol::ICMP => matches!(head[0], 3 | 11 | 12),
        // These, and packet too big.
        _ => matches!(head[0], 1..=4),
    };
    is_error.then(|| FlowPacket {
        key: quoted::flow(ip, view, direction).unwrap_or(FlowPacket::NONE.key),
        role: PacketRole::Related,
    })
}

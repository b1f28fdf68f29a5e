//! The direction of a packet, and how its flow's key follows from that.

use super::view::TransportView;
use crate::{parse::protocol, tables::FlowKey};

/// The direction of a packet, seen from the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the pod: conntrack's `ORIGINAL` direction of tracked flows.
    ToPod,
    /// From the pod: conntrack's `REPLY` direction of tracked flows.
    FromPod,
}

impl Direction {
    /// Returns the opposite direction.
    #[inline(always)]
    pub(super) const fn reverse(self) -> Self {
        match self {
            Self::ToPod => Self::FromPod,
            Self::FromPod => Self::ToPod,
        }
    }

    /// Returns the ICMP or `ICMPv6` type of echo messages that belong to flows to a pod.
    #[inline(always)]
    pub(super) const fn echo(self, icmp: u8) -> u8 {
        match (self, icmp) {
            (Self::ToPod, protocol::ICMP) => 8,
            (Self::FromPod, protocol::ICMP) => 0,
            (Self::ToPod, _) => 128,
            (Self::FromPod, _) => 129,
        }
    }
}

/// Returns the source and destination ports in the first bytes of a transport header.
#[inline(always)]
pub(super) const fn ports(head: [u8; 4]) -> [u16; 2] {
    [
        u16::from_be_bytes([head[0], head[1]]),
        u16::from_be_bytes([head[2], head[3]]),
    ]
}

/// Returns the ports of an ICMP echo message: its identifier in place of the remote port.
#[inline(always)]
pub(super) const fn echo_ports(head: [u8; 8], direction: Direction) -> [u16; 2] {
    let identifier = u16::from_be_bytes([head[4], head[5]]);
    match direction {
        Direction::ToPod => [identifier, 0],
        Direction::FromPod => [0, identifier],
    }
}

/// Returns the key of a packet's flow: addresses and ports as in packets to the pod.
#[inline(always)]
pub(super) const fn flow_key(
    view: &TransportView,
    [source, destination]: [u16; 2],
    direction: Direction,
) -> FlowKey {
    let protocol = view.protocol;
    match direction {
        Direction::ToPod => FlowKey {
            remote: view.source,
            pod: view.destination,
            remote_port: source,
            pod_port: destination,
            protocol,
        },
        Direction::FromPod => FlowKey {
            remote: view.destination,
            pod: view.source,
            remote_port: destination,
            pod_port: source,
            protocol,
        },
    }
}

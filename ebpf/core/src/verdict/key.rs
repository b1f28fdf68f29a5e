//! A packet as the tables and actions see it.

use crate::parse::{Bytes, Kind, Packet, protocol};
use crate::tables::Address;

/// Plain numbers that nothing is known about: the verifier follows what comes after once, not once for every shape of
/// packet.
pub(crate) struct Key {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    /// Of [`column`].
    pub(crate) column: u32,
    /// Destination port, or type and code.
    pub(crate) port: u32,
    pub(crate) tags: u32,
    pub(crate) ip_len: u32,
    pub(crate) upper: u32,
    pub(crate) fragment: u32,
    pub(crate) group_mac: u32,
    is_v4: u32,
}

/// Members of [`crate::tables::Class`], as IP protocol numbers.
pub(crate) mod column {
    use crate::parse::protocol;

    pub(crate) const PORTLESS: u32 = 0;
    pub(crate) const TCP: u32 = protocol::TCP as u32;
    pub(crate) const UDP: u32 = protocol::UDP as u32;
    pub(crate) const SCTP: u32 = protocol::SCTP as u32;
    pub(crate) const ICMP: u32 = protocol::ICMP as u32;
    pub(crate) const ICMPV6: u32 = protocol::ICMPV6 as u32;
}

impl Key {
    #[inline(always)]
    pub(super) fn new<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        let (kind, word) = packet.upper();
        let column = match (kind, packet.protocol) {
            (Kind::Ports, protocol::TCP) => column::TCP,
            (Kind::Ports, protocol::UDP) => column::UDP,
            (Kind::Ports, protocol::SCTP) => column::SCTP,
            (Kind::Icmp, protocol::ICMP) => column::ICMP,
            (Kind::Icmp, protocol::ICMPV6) => column::ICMPV6,
            _ => column::PORTLESS,
        };
        let port = match kind {
            Kind::Icmp => word >> 16,
            _ => word & 0xffff,
        };
        let mut key = Self {
            source: packet.source,
            destination: packet.destination,
            column: bytes.forget(column),
            port: bytes.forget(port),
            tags: bytes.forget(packet.tags),
            ip_len: bytes.forget(packet.ip_len),
            upper: bytes.forget(packet.upper_offset),
            fragment: bytes.forget(u32::from(packet.fragment)),
            group_mac: bytes.forget(u32::from(packet.group_mac)),
            is_v4: bytes.forget(u32::from(packet.destination.is_v4())),
        };
        bytes.settle(&mut key);
        key
    }

    /// Whether it is of ICMP or `ICMPv6`.
    #[inline(always)]
    pub(crate) const fn is_icmp(&self) -> bool {
        self.column == column::ICMP || self.column == column::ICMPV6
    }

    #[inline(always)]
    pub(crate) const fn is_v4(&self) -> bool {
        self.is_v4 != 0
    }
}

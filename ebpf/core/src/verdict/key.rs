//! A packet as the tables and actions see it.

use core::mem::MaybeUninit;

use crate::parse::{Bytes, Kind, Packet, protocol};
use crate::tables::Address;

/// Plain numbers that nothing is known about: the verifier follows what comes after once, not once for every shape of
/// packet.
pub(crate) struct Key {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    column: Hidden,
    port: Hidden,
    tags: Hidden,
    ip_len: Hidden,
    upper: Hidden,
    fragment: Hidden,
    group_mac: Hidden,
    is_v4: Hidden,
}

/// A number in the upper half of a word of the stack: there the verifier keeps no record of what it was made of, which it
/// would otherwise go back to.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Hidden {
    unused: MaybeUninit<u32>,
    value: u32,
}

impl Hidden {
    #[inline(always)]
    fn new<B: Bytes + ?Sized>(bytes: &B, value: u32) -> Self {
        Self {
            unused: MaybeUninit::uninit(),
            value: bytes.forget(value),
        }
    }
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
        Self {
            source: packet.source,
            destination: packet.destination,
            column: Hidden::new(bytes, column),
            port: Hidden::new(bytes, port),
            tags: Hidden::new(bytes, packet.tags),
            ip_len: Hidden::new(bytes, packet.ip_len),
            upper: Hidden::new(bytes, packet.upper_offset),
            fragment: Hidden::new(bytes, u32::from(packet.fragment)),
            group_mac: Hidden::new(bytes, u32::from(packet.group_mac)),
            is_v4: Hidden::new(bytes, u32::from(packet.destination.is_v4())),
        }
    }

    /// Of [`column`].
    #[inline(always)]
    pub(crate) const fn column(&self) -> u32 {
        self.column.value
    }

    /// Destination port, or type and code.
    #[inline(always)]
    pub(crate) const fn port(&self) -> u32 {
        self.port.value
    }

    #[inline(always)]
    pub(crate) const fn tags(&self) -> u32 {
        self.tags.value
    }

    #[inline(always)]
    pub(crate) const fn ip_len(&self) -> u32 {
        self.ip_len.value
    }

    #[inline(always)]
    pub(crate) const fn upper(&self) -> u32 {
        self.upper.value
    }

    #[inline(always)]
    pub(crate) const fn fragment(&self) -> u32 {
        self.fragment.value
    }

    #[inline(always)]
    pub(crate) const fn group_mac(&self) -> u32 {
        self.group_mac.value
    }

    /// Whether it is of ICMP or `ICMPv6`.
    #[inline(always)]
    pub(crate) const fn is_icmp(&self) -> bool {
        self.column() == column::ICMP || self.column() == column::ICMPV6
    }

    #[inline(always)]
    pub(crate) const fn is_v4(&self) -> bool {
        self.is_v4.value != 0
    }
}

//! The properties of a packet that rules and actions depend on.

use core::mem::MaybeUninit;

use crate::{
    flows::TransportView,
    parse::{ETHERNET, Packet, TAG, UpperKind, protocol},
    tables::{Address, FlowKey},
};

/// A packet as plain numbers. In the kernel it is in a map: then the verifier does not track its values, and
/// does not follow the rest of the program once for each kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketKey {
    /// Addresses, [`column`], and ports; for ICMP type and code in place of the pod's port.
    flow: FlowKey,
    tags: u32,
    ip_len: u32,
    upper: u32,
    fragment: u16,
    ttl: u16,
    group_mac: u16,
    /// The flags of the interface that receives the packet: [`crate::tables::Receiver`].
    receiver: u16,
    is_v4: u16,
    options: u16,
}

/// Memory for a [`PacketKey`], which the caller provides.
pub type Scratch = MaybeUninit<PacketKey>;

/// The fields of [`crate::tables::Class`], as IP protocol numbers.
pub(crate) mod column {
    use crate::parse::protocol;

    pub(crate) const PORTLESS: u32 = 0;
    /// No column: the transport header cannot be read. The ports are the reason, and the columns that are
    /// possible.
    pub(crate) const UNPARSED: u32 = 1 << 8;
    pub(crate) const TCP: u32 = protocol::TCP as u32;
    pub(crate) const UDP: u32 = protocol::UDP as u32;
    pub(crate) const SCTP: u32 = protocol::SCTP as u32;
    pub(crate) const ICMP: u32 = protocol::ICMP as u32;
    pub(crate) const ICMPV6: u32 = protocol::ICMPV6 as u32;
}

impl PacketKey {
    #[inline(always)]
    pub(crate) fn new(packet: &Packet) -> Self {
        let (kind, word) = packet.upper();
        let protocol = match (kind, packet.protocol) {
            (UpperKind::Ports, protocol::TCP) => column::TCP,
            (UpperKind::Ports, protocol::UDP) => column::UDP,
            (UpperKind::Ports, protocol::SCTP) => column::SCTP,
            (UpperKind::Icmp, protocol::ICMP) => column::ICMP,
            (UpperKind::Icmp, protocol::ICMPV6) => column::ICMPV6,
            (UpperKind::Unparsed, _) => column::UNPARSED,
            _ => column::PORTLESS,
        };
        let (remote_port, pod_port) = match kind {
            UpperKind::Icmp => (0, word >> 16),
            UpperKind::Ports | UpperKind::Other | UpperKind::LaterFragment | UpperKind::Unparsed => {
                (word >> 16, word)
            }
        };
        Self {
            flow: FlowKey {
                remote: packet.source,
                pod: packet.destination,
                remote_port: remote_port as u16,
                pod_port: pod_port as u16,
                protocol,
            },
            tags: packet.tags,
            ip_len: packet.ip_len,
            upper: packet.upper_offset,
            fragment: u16::from(packet.fragment),
            ttl: u16::from(packet.ttl),
            group_mac: u16::from(packet.group_mac),
            receiver: 0,
            is_v4: u16::from(packet.destination.is_v4()),
            options: u16::from(packet.options),
        }
    }

    /// Returns the source address.
    #[inline(always)]
    pub const fn source(&self) -> &Address {
        &self.flow.remote
    }

    /// Returns the destination address.
    #[inline(always)]
    pub const fn destination(&self) -> &Address {
        &self.flow.pod
    }

    /// Returns one of [`column`].
    #[inline(always)]
    pub(crate) const fn column(&self) -> u32 {
        self.flow.protocol
    }

    /// Returns the destination port, or type and code.
    #[inline(always)]
    pub(crate) const fn port(&self) -> u32 {
        self.flow.pod_port as u32
    }

    /// Returns the number of VLAN tags.
    #[inline(always)]
    pub const fn tags(&self) -> u32 {
        self.tags
    }

    #[inline(always)]
    pub(crate) const fn ip_len(&self) -> u32 {
        self.ip_len
    }

    #[inline(always)]
    pub(crate) const fn upper(&self) -> u32 {
        self.upper
    }

    #[inline(always)]
    pub(crate) const fn fragment(&self) -> u32 {
        self.fragment as u32
    }

    /// Whether the packet is a fragment.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.fragment != 0
    }

    /// Whether the packet is a fragment without ports: all but the first are.
    #[inline(always)]
    pub const fn is_portless_fragment(&self) -> bool {
        self.is_fragment() && self.column() == column::PORTLESS
    }

    #[inline(always)]
    pub(crate) const fn ttl(&self) -> u32 {
        self.ttl as u32
    }

    /// Returns the flags of the interface that receives the packet.
    #[inline(always)]
    pub(crate) const fn receiver(&self) -> u32 {
        self.receiver as u32
    }

    #[inline(always)]
    pub(crate) const fn set_receiver(&mut self, flags: u32) {
        self.receiver = flags as u16;
    }

    #[inline(always)]
    pub(crate) const fn group_mac(&self) -> u32 {
        self.group_mac as u32
    }

    /// Whether the transport header cannot be read.
    #[inline(always)]
    pub(crate) const fn is_unparsed(&self) -> bool {
        self.column() == column::UNPARSED
    }

    /// Returns the code of [`crate::events::Unparsed`], and the possible columns ([`Class::drops`]).
    #[inline(always)]
    pub(crate) const fn unparsed(&self) -> (u32, u16) {
        (self.flow.remote_port as u32, self.flow.pod_port)
    }

    #[inline(always)]
    pub(crate) const fn options(&self) -> u32 {
        self.options as u32
    }

    /// Whether the packet is ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(&self) -> bool {
        self.column() == column::ICMP || self.column() == column::ICMPV6
    }

    /// Whether the packet is an ICMP message that can be about what the pod sent: an echo reply, or an error.
    #[inline(always)]
    pub const fn is_icmp_answer(&self) -> bool {
        let kind = self.port() >> 8;
        match self.column() {
            column::ICMP => matches!(kind, 0 | 3 | 11 | 12),
            column::ICMPV6 => matches!(kind, 1..=4 | 129),
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) const fn is_v4(&self) -> bool {
        self.is_v4 != 0
    }

    /// Returns the packet's flow if its ports identify it: not for ICMP.
    #[inline(always)]
    pub const fn flow(&self) -> Option<&FlowKey> {
        match self.column() {
            column::TCP | column::UDP | column::SCTP => Some(&self.flow),
            _ => None,
        }
    }

    /// Returns where to read what else identifies the packet's flow.
    #[inline(always)]
    pub const fn view(&self) -> TransportView {
        TransportView {
            source: self.flow.remote,
            destination: self.flow.pod,
            protocol: self.flow.protocol,
            upper: self.upper,
            end: ETHERNET as u32 + TAG as u32 * self.tags + self.ip_len,
        }
    }
}

// One cache line.
const _: () = assert!(size_of::<PacketKey>() == 64);

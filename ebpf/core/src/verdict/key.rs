//! A packet as the tables and actions see it.

use core::mem::MaybeUninit;

use crate::{
    flows::Segment,
    parse::{ETHERNET, Kind, Packet, TAG, protocol},
    tables::{Address, FlowKey},
};

/// Plain numbers, which are kept where the program says. The kernel's are in a map: it is one place for all shapes of packets,
/// and the verifier does not follow what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    /// The addresses, [`column`], and ports; type and code for ICMP.
    flow: FlowKey,
    tags: u32,
    ip_len: u32,
    upper: u32,
    fragment: u32,
    group_mac: u32,
    is_v4: u32,
}

/// Where there is room for one.
pub type Room = MaybeUninit<Key>;

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
    pub(super) fn new(packet: &Packet) -> Self {
        let (kind, word) = packet.upper();
        let protocol = match (kind, packet.protocol) {
            (Kind::Ports, protocol::TCP) => column::TCP,
            (Kind::Ports, protocol::UDP) => column::UDP,
            (Kind::Ports, protocol::SCTP) => column::SCTP,
            (Kind::Icmp, protocol::ICMP) => column::ICMP,
            (Kind::Icmp, protocol::ICMPV6) => column::ICMPV6,
            _ => column::PORTLESS,
        };
        let (remote_port, pod_port) = match kind {
            Kind::Icmp => (0, word >> 16),
            _ => (word >> 16, word),
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
            fragment: u32::from(packet.fragment),
            group_mac: u32::from(packet.group_mac),
            is_v4: u32::from(packet.destination.is_v4()),
        }
    }

    #[inline(always)]
    pub(crate) const fn source(&self) -> &Address {
        &self.flow.remote
    }

    #[inline(always)]
    pub(crate) const fn destination(&self) -> &Address {
        &self.flow.pod
    }

    /// Of [`column`].
    #[inline(always)]
    pub(crate) const fn column(&self) -> u32 {
        self.flow.protocol
    }

    /// Destination port, or type and code.
    #[inline(always)]
    pub(crate) const fn port(&self) -> u32 {
        self.flow.pod_port as u32
    }

    #[inline(always)]
    pub(crate) const fn tags(&self) -> u32 {
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
        self.fragment
    }

    #[inline(always)]
    pub(crate) const fn group_mac(&self) -> u32 {
        self.group_mac
    }

    /// Whether it is of ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(&self) -> bool {
        self.column() == column::ICMP || self.column() == column::ICMPV6
    }

    #[inline(always)]
    pub(crate) const fn is_v4(&self) -> bool {
        self.is_v4 != 0
    }

    /// The packet's flow, if it is the ports that tell.
    #[inline(always)]
    pub const fn flow(&self) -> Option<&FlowKey> {
        if self.column() == column::PORTLESS || self.is_icmp() {
            None
        } else {
            Some(&self.flow)
        }
    }

    /// What else to look at for its flow.
    #[inline(always)]
    pub const fn segment(&self) -> Segment {
        Segment {
            source: self.flow.remote,
            destination: self.flow.pod,
            protocol: self.flow.protocol,
            upper: self.upper,
            end: ETHERNET as u32 + TAG as u32 * self.tags + self.ip_len,
        }
    }
}

// One cache line.
const _: () = assert!(size_of::<Key>() == 64);

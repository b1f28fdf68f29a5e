//! The part of a packet that identifies its flow: addresses, and where the transport header is.

use crate::{
    parse::{Bytes, ETHERNET, IpBytes, Packet, TAG, UpperKind, ipv6, protocol},
    tables::Address,
};

const V4_ADDRESSES: usize = 12;
const V6_ADDRESSES: usize = 8;

/// A [`TransportView`] without the addresses, as few numbers: a function of its own takes them as arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedView {
    /// Tags and protocol.
    pub headers: PackedHeaders,
    /// Offset of the transport header.
    pub upper: u32,
    /// Length of the IP packet.
    pub ip_len: u32,
}

impl PackedView {
    /// Packs the view of a parsed packet.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        let mut view = Self {
            headers: PackedHeaders(bytes.opaque(PackedHeaders::new(packet.tags, transport(packet)).0)),
            upper: bytes.opaque(packet.upper_offset),
            ip_len: bytes.opaque(packet.ip_len),
        };
        bytes.barrier(&mut view);
        view
    }
}

/// The number of VLAN tags and the IP protocol in one number: a program's stack is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct PackedHeaders(pub u32);

impl PackedHeaders {
    #[inline(always)]
    const fn new(tags: u32, protocol: u32) -> Self {
        Self(tags << 8 | protocol)
    }

    /// Returns the number of VLAN tags in front of the IP header.
    #[inline(always)]
    pub const fn tags(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Returns the IP protocol number, or zero if there is no transport header to read.
    #[inline(always)]
    pub const fn protocol(self) -> u32 {
        self.0 & 0xff
    }

    /// Whether the packet is ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(self) -> bool {
        let protocol = self.0 as u8;
        protocol == protocol::ICMP || protocol == protocol::ICMPV6
    }
}

/// Addresses of a packet, and where its transport header is.
#[derive(Clone, Copy, Debug)]
pub struct TransportView {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP protocol number; zero if there is no transport header to read.
    pub protocol: u32,
    /// Offset of the transport header.
    pub upper: u32,
    /// Offset of the end of the IP packet.
    pub end: u32,
}

impl TransportView {
    /// Unpacks a view, and reads the addresses from the packet again.
    #[inline(always)]
    pub fn at<B: Bytes + ?Sized>(bytes: &B, packed: PackedView) -> Option<Self> {
        let start = ETHERNET + TAG * packed.headers.tags() as usize;
        let [version] = bytes.read(start)?;
        let (source, destination) = if version >> 4 == 4 {
            let both: u64 = u64::from_be_bytes(bytes.read(start + V4_ADDRESSES)?);
            (v4(both >> 32), v4(both & 0xffff_ffff))
        } else {
            let at = start + V6_ADDRESSES;
            (
                ipv6::address(bytes, at).ok()?,
                ipv6::address(bytes, at + 16).ok()?,
            )
        };
        Some(Self {
            source,
            destination,
            protocol: packed.headers.protocol(),
            upper: packed.upper,
            end: start as u32 + packed.ip_len,
        })
    }

    /// Whether the packet is ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(&self) -> bool {
        PackedHeaders(self.protocol).is_icmp()
    }

    #[inline(always)]
    pub(super) const fn bytes<'b, B: Bytes + ?Sized>(&self, bytes: &'b B) -> IpBytes<'b, B> {
        IpBytes {
            bytes,
            end: self.end as usize,
        }
    }

    /// Returns the view of a parsed packet.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        let mut view = Self {
            source: packet.source,
            destination: packet.destination,
            protocol: bytes.opaque(transport(packet)),
            upper: bytes.opaque(packet.upper_offset),
            end: bytes.opaque(packet.ip_offset() as u32 + packet.ip_len),
        };
        bytes.barrier(&mut view);
        view
    }
}

/// Returns the IP protocol number, or zero if there is no transport header to read.
#[inline(always)]
fn transport(packet: &Packet) -> u32 {
    let (kind, _) = packet.upper();
    if matches!(kind, UpperKind::Ports | UpperKind::Icmp) {
        u32::from(packet.protocol)
    } else {
        0
    }
}

#[inline(always)]
const fn v4(address: u64) -> Address {
    Address::v4((address as u32).to_be_bytes())
}

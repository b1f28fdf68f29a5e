//! Parses packets: from bytes to the few fields that a verdict depends on.
//!
//! Parsing is total: every sequence of bytes is a [`Packet`], or has a reason why it is none. Headers are
//! read only as far as the verdict needs them, and never beyond the end of the IP packet: padding must not
//! decide anything.

mod ipv4;
pub(crate) mod ipv6;
mod transport;

pub(crate) use transport::UpperKind;
pub use transport::{TransportHeader, protocol};

use self::transport::Upper;
use crate::{events::Unparsed, tables::Address};

/// The bytes of a packet, from the Ethernet header on.
pub trait Bytes {
    /// Returns the number of bytes.
    fn length(&self) -> usize;

    /// Reads `N` bytes, or none if the packet is too short.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Reads bytes of headers that few packets have. In the kernel this is slower, and costs the verifier
    /// less.
    #[inline(always)]
    fn fetch<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.read(offset)
    }

    /// Returns `value` unchanged. In the kernel it makes the value opaque to the verifier, which otherwise
    /// follows the rest of the program once for each kind of packet.
    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        value
    }

    /// Returns the interface index of the NIC at which the packet arrived. A packet that arrived nowhere is
    /// treated as one of the loopback interface, as in the kernel's test runs.
    #[inline(always)]
    fn ingress(&self) -> u32 {
        1
    }

    /// Leaves `value` unchanged. In the kernel it is a barrier for the compiler, which otherwise duplicates
    /// the rest of the program for each kind of packet.
    #[inline(always)]
    fn barrier<T>(&self, value: &mut T) {
        let _ = value;
    }
}

impl Bytes for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// The most VLAN tags that a packet may have.
pub const MAX_TAGS: u32 = 2;
/// The most IPv6 extension headers that are walked: one more than RFC 8200 recommends.
pub const MAX_EXTENSION_HEADERS: u32 = 6;

/// The fields of a packet that a verdict depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// VLAN tags in front of the IP header.
    pub tags: u32,
    /// Length of the IP packet as its header says, without padding.
    pub ip_len: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP protocol number; behind the extension headers for IPv6.
    pub protocol: u8,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Offset of the transport header, or of what follows the IP headers, from the start of the frame.
    pub upper_offset: u32,
    upper: Upper,
    /// Whether this is an IP fragment, the first or a later one.
    pub fragment: bool,
    /// Whether the destination MAC address is a multicast or broadcast one, or the source MAC address is not
    /// that of a station.
    pub group_mac: bool,
    /// Whether there are IPv4 options or an IPv6 hop-by-hop header, which routers read.
    pub options: bool,
}

impl Packet {
    /// Returns the fields of the transport header.
    pub fn transport(&self) -> TransportHeader {
        self.upper.decode()
    }

    /// Returns the kind of transport header, and its first four bytes.
    #[inline(always)]
    pub(crate) const fn upper(&self) -> (UpperKind, u32) {
        (self.upper.kind, self.upper.word)
    }

    /// Returns why the transport header cannot be read. Addresses are known, and perhaps the protocol.
    pub fn unparsed(&self) -> Option<Unparsed> {
        self.upper.reason()
    }

    /// Whether this is a later fragment, which has no transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.upper.kind, UpperKind::LaterFragment)
    }

    /// Returns the offset of the IP header.
    pub const fn ip_offset(&self) -> usize {
        ETHERNET + TAG * self.tags as usize
    }
}

/// Length of an Ethernet header without tags.
pub const ETHERNET: usize = 14;
/// Length of a VLAN tag.
pub const TAG: usize = 4;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// The link-layer header.
#[derive(Clone, Copy)]
struct Link {
    tags: u32,
    group_mac: bool,
}

impl Link {
    const fn ip_offset(self) -> usize {
        ETHERNET + TAG * self.tags as usize
    }
}

/// Parses an Ethernet frame to its transport header.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B) -> Result<Packet, Unparsed> {
    let packet = parse_addresses(bytes)?;
    match packet.upper() {
        (UpperKind::Unparsed, _) => Err(packet.unparsed().unwrap_or(Unparsed::Short)),
        _ => Ok(packet),
    }
}

/// Parses an Ethernet frame as far as possible: at least to its addresses. The stack drops what it cannot
/// read so far as well.
#[inline(always)]
pub fn parse_addresses<B: Bytes + ?Sized>(bytes: &B) -> Result<Packet, Unparsed> {
    let header: [u8; ETHERNET] = bytes.read(0).ok_or(Unparsed::Short)?;
    let no_station = header[6] & 1 != 0 || header[6..12] == [0; 6];
    let group_mac = header[0] & 1 != 0 || no_station;
    let mut ethertype = u16::from_be_bytes([header[12], header[13]]);
    let mut tags = 0;
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, VLAN | SERVICE_VLAN) {
            break;
        }
        let tag: [u8; TAG] = bytes
            .read(ETHERNET + TAG * tags as usize)
            .ok_or(Unparsed::Short)?;
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        tags = bytes.opaque(tags + 1);
    }
    let link = Link { tags, group_mac };
    match ethertype {
        IPV4 => ipv4::parse(bytes, link),
        IPV6 => ipv6::parse(bytes, link),
        VLAN | SERVICE_VLAN => Err(Unparsed::TooManyTags),
        _ => Err(Unparsed::NotIp),
    }
}

/// The bytes of one IP packet: reads beyond its end fail.
pub(crate) struct IpBytes<'a, B: ?Sized> {
    pub(crate) bytes: &'a B,
    pub(crate) end: usize,
}

impl<B: Bytes + ?Sized> IpBytes<'_, B> {
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], Unparsed> {
        if offset + N > self.end {
            return Err(Unparsed::Short);
        }
        self.bytes.read(offset).ok_or(Unparsed::Short)
    }

    /// See [`Bytes::fetch`].
    #[inline(always)]
    pub(crate) fn fetch<const N: usize>(&self, offset: usize) -> Result<[u8; N], Unparsed> {
        if offset + N > self.end {
            return Err(Unparsed::Short);
        }
        self.bytes.fetch(offset).ok_or(Unparsed::Short)
    }
}

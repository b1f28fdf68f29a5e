//! From bytes to the few fields a verdict needs.
//!
//! Total: every sequence of bytes is a [`Packet`] or has a reason not to be one. Headers are read only as far as the
//! verdict needs them, and never beyond the end of the IP packet: what follows is padding, and padding must not
//! decide anything.

mod ipv4;
pub(crate) mod ipv6;
mod transport;

pub use transport::Transport;
pub(crate) use transport::{Kind, protocol};

use self::transport::Upper;
use crate::tables::Address;

/// A packet's bytes, from the Ethernet header on.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> usize;

    /// `N` of them, if all of them are there.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The same of what few packets have. In the kernel with less for the verifier to follow, and slower.
    #[inline(always)]
    fn fetch<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.read(offset)
    }

    /// `value` itself. In the kernel the verifier forgets what it knew about it: without that it follows the rest of the
    /// program once for every shape of packet.
    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        value
    }

    /// Does nothing to `value`. In the kernel the compiler forgets what it knew about it, and so does not make a copy of
    /// the rest of the program for every shape of packet.
    #[inline(always)]
    fn settle<T>(&self, value: &mut T) {
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

/// Why no rule was asked about a packet. It passes, and is counted under its code in [`crate::tables::maps::EVENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unparsed {
    /// A header reaches beyond the end of the packet.
    Short = 0,
    /// Neither IPv4 nor IPv6: ARP, LLDP, length-framed protocols.
    NotIp = 1,
    /// More than [`MAX_TAGS`] VLAN tags.
    TooManyTags = 2,
    /// The IP header contradicts itself: version, header length, total length.
    BadIpHeader = 3,
    /// The frame ends before the IP packet does.
    Truncated = 4,
    /// More than [`MAX_EXTENSION_HEADERS`] IPv6 extension headers.
    TooManyExtensionHeaders = 5,
    /// IPv6 with an IPv4-mapped address. The stack drops it as well (Linux commit 6af1799aaf3f).
    V4MappedInV6 = 6,
    /// IPv6 without a payload length, but with options that may hold one.
    Jumbogram = 7,
}

impl Unparsed {
    /// All reasons, by code.
    pub const ALL: [Self; 8] = [
        Self::Short,
        Self::NotIp,
        Self::TooManyTags,
        Self::BadIpHeader,
        Self::Truncated,
        Self::TooManyExtensionHeaders,
        Self::V4MappedInV6,
        Self::Jumbogram,
    ];

    /// Index into [`crate::tables::maps::EVENTS`].
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "Short",
            Self::NotIp => "NotIp",
            Self::TooManyTags => "TooManyTags",
            Self::BadIpHeader => "BadIpHeader",
            Self::Truncated => "Truncated",
            Self::TooManyExtensionHeaders => "TooManyExtensionHeaders",
            Self::V4MappedInV6 => "V4MappedInV6",
            Self::Jumbogram => "Jumbogram",
        }
    }
}

/// VLAN tags that are looked through.
pub const MAX_TAGS: u32 = 2;
/// IPv6 extension headers that are looked through: one more than RFC 8200 recommends a packet to have.
pub const MAX_EXTENSION_HEADERS: u32 = 6;

/// What a verdict needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// VLAN tags in front of the IP header.
    pub tags: u32,
    /// Length of the IP packet by its own header, without padding.
    pub ip_len: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP protocol number; behind the extension headers for IPv6.
    pub protocol: u8,
    /// Offset of the transport header, or of what stands in its place, from the start of the frame.
    pub upper_offset: u32,
    upper: Upper,
    /// Part of a packet, the first one or a later one.
    pub fragment: bool,
    /// The destination link-layer address is a multicast or broadcast one.
    pub group_mac: bool,
}

impl Packet {
    /// What the transport header says.
    pub const fn transport(&self) -> Transport {
        self.upper.decode()
    }

    /// The kind of transport header, and its first four bytes.
    #[inline(always)]
    pub(crate) const fn upper(&self) -> (Kind, u32) {
        (self.upper.kind, self.upper.word)
    }

    /// Whether it is a fragment but the first, and has no transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.upper.kind, Kind::LaterFragment)
    }

    /// Offset of the IP header.
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

/// Where the IP header begins, and what came before it.
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

/// Parses an Ethernet frame.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B) -> Result<Packet, Unparsed> {
    let header: [u8; ETHERNET] = bytes.read(0).ok_or(Unparsed::Short)?;
    let group_mac = header[0] & 1 != 0;
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
        tags = bytes.forget(tags + 1);
    }
    let link = Link { tags, group_mac };
    match ethertype {
        IPV4 => ipv4::parse(bytes, link),
        IPV6 => ipv6::parse(bytes, link),
        VLAN | SERVICE_VLAN => Err(Unparsed::TooManyTags),
        _ => Err(Unparsed::NotIp),
    }
}

/// The bytes of one IP packet: no read crosses its end.
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

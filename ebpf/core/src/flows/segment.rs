//! Where a packet's addresses and its transport header are.

use crate::{
    parse::{Bytes, ETHERNET, IpBytes, Kind, Packet, TAG, ipv6, protocol},
    tables::Address,
};

const V4_ADDRESSES: usize = 12;
const V6_ADDRESSES: usize = 8;

/// Where to look for a packet's flow, in few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is there.
    pub shape: Shape,
    /// Offset of the transport header.
    pub upper: u32,
    /// Length of the IP packet.
    pub ip_len: u32,
}

impl Place {
    /// Of a packet that was parsed.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        let mut place = Self {
            shape: Shape(bytes.forget(Shape::new(packet.tags, transport(packet)).0)),
            upper: bytes.forget(packet.upper_offset),
            ip_len: bytes.forget(packet.ip_len),
        };
        bytes.settle(&mut place);
        place
    }
}

/// What a packet is made of, in one number: stacks of programs are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Shape(pub u32);

impl Shape {
    #[inline(always)]
    const fn new(tags: u32, protocol: u32) -> Self {
        Self(tags << 8 | protocol)
    }

    /// VLAN tags in front of the IP header.
    #[inline(always)]
    pub const fn tags(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// IP protocol number; zero if there is no transport header to look at.
    #[inline(always)]
    pub const fn protocol(self) -> u32 {
        self.0 & 0xff
    }

    /// Whether it is ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(self) -> bool {
        let protocol = self.0 as u8;
        protocol == protocol::ICMP || protocol == protocol::ICMPV6
    }
}

/// The same with the addresses.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// IP protocol number; zero if there is no transport header to look at.
    pub protocol: u32,
    /// Offset of the transport header.
    pub upper: u32,
    /// Offset of the end of the IP packet.
    pub end: u32,
}

impl Segment {
    /// Reads the addresses of a packet that was parsed before.
    #[inline(always)]
    pub fn at<B: Bytes + ?Sized>(bytes: &B, place: Place) -> Option<Self> {
        let start = ETHERNET + TAG * place.shape.tags() as usize;
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
            protocol: place.shape.protocol(),
            upper: place.upper,
            end: start as u32 + place.ip_len,
        })
    }

    /// Whether it is of ICMP or `ICMPv6`.
    #[inline(always)]
    pub const fn is_icmp(&self) -> bool {
        Shape(self.protocol).is_icmp()
    }

    #[inline(always)]
    pub(super) const fn bytes<'b, B: Bytes + ?Sized>(&self, bytes: &'b B) -> IpBytes<'b, B> {
        IpBytes {
            bytes,
            end: self.end as usize,
        }
    }

    /// Of a packet that was parsed.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        let mut segment = Self {
            source: packet.source,
            destination: packet.destination,
            protocol: bytes.forget(transport(packet)),
            upper: bytes.forget(packet.upper_offset),
            end: bytes.forget(packet.ip_offset() as u32 + packet.ip_len),
        };
        bytes.settle(&mut segment);
        segment
    }
}

/// IP protocol number; zero if there is no transport header to look at.
#[inline(always)]
fn transport(packet: &Packet) -> u32 {
    let (kind, _) = packet.upper();
    if matches!(kind, Kind::Ports | Kind::Icmp) {
        u32::from(packet.protocol)
    } else {
        0
    }
}

#[inline(always)]
const fn v4(address: u64) -> Address {
    Address::v4((address as u32).to_be_bytes())
}

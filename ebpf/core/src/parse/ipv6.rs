//! IPv6 with extension headers and fragments.

use super::{
    Bytes, IpBytes, Link, MAX_EXTENSION_HEADERS, Packet,
    transport::{
        Upper, UpperKind, protocol, {self},
    },
};
use crate::{
    events::Unparsed,
    tables::{Address, Class},
};

const HEADER: usize = 40;
const OFFSET_MASK: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 1;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline(always)]
pub(super) fn parse<B: Bytes + ?Sized>(bytes: &B, link: Link) -> Result<Packet, Unparsed> {
    let tags = bytes.opaque(link.tags);
    let start = Link { tags, ..link }.ip_offset();
    let [v, _, _, _, l0, l1, next, ttl]: [u8; 8] = bytes.read(start).ok_or(Unparsed::Short)?;
    let source = address(bytes, start + 8)?;
    let destination = address(bytes, start + 24)?;
    let payload_len = usize::from(u16::from_be_bytes([l0, l1]));
    let ip_len = HEADER + payload_len;
    if v >> 4 != 6 {
        return Err(Unparsed::BadIpHeader);
    }
    if start + ip_len > bytes.length() {
        return Err(Unparsed::Truncated);
    }
    if source.is_v4() || destination.is_v4() {
        return Err(Unparsed::V4MappedInV6);
    }
    let ip = IpBytes {
        bytes,
        end: start + ip_len,
    };
    // Linux takes such a packet as long as the frame, unless an option says more (`ip6_rcv_core`).
    let last = if payload_len == 0 && next == HOP_BY_HOP {
        Last::unparsed(Unparsed::Jumbogram, next, start + HEADER)
    } else {
        walk(&ip, start + HEADER, next)
    };
    Ok(Packet {
        tags,
        ip_len: ip_len as u32,
        source,
        destination,
        protocol: last.protocol,
        ttl,
        upper_offset: last.offset,
        upper: last.upper,
        fragment: last.fragment,
        group_mac: link.group_mac,
        options: next == HOP_BY_HOP,
    })
}

#[inline(always)]
pub(crate) fn address<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Address, Unparsed> {
    let half = |offset| bytes.read(offset).map(u64::from_be_bytes).ok_or(Unparsed::Short);
    Ok(Address {
        high: half(offset)?,
        low: half(offset + 8)?,
    })
}

/// The header that follows the extension headers.
pub(crate) struct Last {
    pub(crate) protocol: u8,
    pub(crate) offset: u32,
    upper: Upper,
    fragment: bool,
}

impl Last {
    /// Returns what is known of a packet whose transport header is not found: any protocol may follow.
    #[inline(always)]
    const fn unparsed(reason: Unparsed, protocol: u8, offset: usize) -> Self {
        Self {
            protocol,
            offset: offset as u32,
            upper: Upper::unparsed(reason, Class::ANY_V6),
            fragment: false,
        }
    }

    /// Whether there is a transport header that identifies a flow.
    #[inline(always)]
    pub(crate) fn has_transport(&self) -> bool {
        matches!(self.upper.kind, UpperKind::Ports | UpperKind::Icmp)
    }
}

/// Walks the extension headers, each of at least eight bytes: those of Linux (`ipv6_ext_hdr`), which takes
/// mobility, HIP and shim6 headers for protocols, and nothing for one as well.
#[inline(always)]
pub(crate) fn walk<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, mut offset: usize, mut next: u8) -> Last {
    let mut fragment = 0;
    let mut left = MAX_EXTENSION_HEADERS + 1;
    while left > 0 {
        left -= 1;
        if !matches!(
            next,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
        ) {
            return Last {
                protocol: next,
                offset: offset as u32,
                upper: transport::parse(ip, offset, next, protocol::ICMPV6),
                fragment: fragment != 0,
            };
        }
        let Ok([after, length, o0, o1, _, _, _, _]) = ip.fetch(offset) else {
            return Last::unparsed(Unparsed::Short, next, offset);
        };
        let length = match ip.bytes.opaque(u32::from(next)) as u8 {
            FRAGMENT => 8,
            AUTHENTICATION => 8 + usize::from(length) * 4,
            _ => 8 + usize::from(length) * 8,
        };
        offset = ip.bytes.opaque((offset + length) as u32) as usize;
        let part = u16::from_be_bytes([o0, o1]);
        if next == FRAGMENT && part & OFFSET_MASK != 0 {
            return Last {
                protocol: after,
                offset: offset as u32,
                upper: Upper::LATER_FRAGMENT,
                fragment: true,
            };
        }
        fragment = ip
            .bytes
            .opaque(fragment | u32::from(next == FRAGMENT && part & MORE_FRAGMENTS != 0));
        next = ip.bytes.opaque(u32::from(after)) as u8;
    }
    Last::unparsed(Unparsed::TooManyExtensionHeaders, next, offset)
}

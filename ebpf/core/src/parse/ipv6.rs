//! IPv6 with extension headers and fragments.

use super::transport::{self, Transport, protocol};
use super::{Bytes, IpBytes, Link, MAX_EXTENSION_HEADERS, Packet, Unparsed};
use crate::tables::Address;

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
    let start = link.ip_offset();
    let [v, _, _, _, l0, l1, next, _]: [u8; 8] = bytes.read(start).ok_or(Unparsed::Short)?;
    let source = Address::v6(bytes.read(start + 8).ok_or(Unparsed::Short)?);
    let destination = Address::v6(bytes.read(start + 24).ok_or(Unparsed::Short)?);
    let payload_len = usize::from(u16::from_be_bytes([l0, l1]));
    let ip_len = HEADER + payload_len;
    if v >> 4 != 6 {
        return Err(Unparsed::BadIpHeader);
    }
    if payload_len == 0 && next == HOP_BY_HOP {
        return Err(Unparsed::Jumbogram);
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
    let upper = upper(&ip, start + HEADER, next)?;
    Ok(Packet {
        tags: link.tags,
        ip_len: ip_len as u32,
        source,
        destination,
        protocol: upper.protocol,
        transport: upper.transport,
        upper: upper.offset,
        fragment: upper.fragment,
        group_mac: link.group_mac,
    })
}

/// What is behind the extension headers.
struct Upper {
    protocol: u8,
    transport: Transport,
    offset: u32,
    fragment: bool,
}

/// Walks the extension headers.
#[inline(always)]
fn upper<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, mut offset: usize, mut next: u8) -> Result<Upper, Unparsed> {
    let mut fragment = false;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let [after, length] = ip.read(offset)?;
                next = after;
                8 + usize::from(length) * 8
            }
            AUTHENTICATION => {
                let [after, length] = ip.read(offset)?;
                next = after;
                8 + usize::from(length) * 4
            }
            FRAGMENT => {
                let [after, _, o0, o1, _, _, _, _] = ip.read(offset)?;
                next = after;
                let part = u16::from_be_bytes([o0, o1]);
                if part & OFFSET_MASK != 0 {
                    let (transport, fragment) = (Transport::LaterFragment, true);
                    return Ok(Upper {
                        protocol: next,
                        transport,
                        offset: (offset + 8) as u32,
                        fragment,
                    });
                }
                fragment |= part & MORE_FRAGMENTS != 0;
                8
            }
            _ => {
                let transport = transport::parse(ip, offset, next, protocol::ICMPV6)?;
                return Ok(Upper {
                    protocol: next,
                    transport,
                    offset: offset as u32,
                    fragment,
                });
            }
        };
        offset += length;
    }
    Err(Unparsed::TooManyExtensionHeaders)
}

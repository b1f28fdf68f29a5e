//! IPv4 with options and fragments.

use super::{
    Bytes, IpBytes, Link, Packet,
    transport::{
        Upper, protocol, {self},
    },
};
use crate::{events::Unparsed, tables::Address};

const HEADER: usize = 20;
const OFFSET_MASK: u16 = 0x1fff;
const MORE_FRAGMENTS: u16 = 0x2000;

#[inline(always)]
pub(super) fn parse<B: Bytes + ?Sized>(bytes: &B, link: Link) -> Result<Packet, Unparsed> {
    let start = link.ip_offset();
    let header: [u8; HEADER] = bytes.read(start).ok_or(Unparsed::Short)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let ip_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < HEADER || ip_len < header_len {
        return Err(Unparsed::BadIpHeader);
    }
    if start + ip_len > bytes.length() {
        return Err(Unparsed::Truncated);
    }
    let ip = IpBytes {
        bytes,
        end: start + ip_len,
    };
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let upper = if fragment & OFFSET_MASK == 0 {
        transport::parse(&ip, start + header_len, header[9], protocol::ICMP)
    } else {
        Upper::LATER_FRAGMENT
    };
    Ok(Packet {
        tags: link.tags,
        ip_len: ip_len as u32,
        source: Address::v4([header[12], header[13], header[14], header[15]]),
        destination: Address::v4([header[16], header[17], header[18], header[19]]),
        protocol: header[9],
        ttl: header[8],
        upper_offset: (start + header_len) as u32,
        upper,
        fragment: fragment & (OFFSET_MASK | MORE_FRAGMENTS) != 0,
        group_mac: link.group_mac,
        options: header_len > HEADER,
    })
}

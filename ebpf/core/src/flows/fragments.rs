//! What identifies the fragments of one packet.

use crate::{
    key::PacketKey,
    parse::{Bytes, ETHERNET, Packet, TAG},
    tables::{Address, FragmentKey},
};

const IDENTIFICATION: usize = 4;
const IPV4_PROTOCOL: usize = 9;
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_HEADER: usize = 40;
const FRAGMENT: u8 = 44;

/// Returns what all fragments of a packet have in common. `None` if the fragment header is not the first
/// extension header.
#[inline(always)]
pub fn fragment_key<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Option<FragmentKey> {
    read(bytes, packet.ip_offset(), &packet.source, &packet.destination)
}

/// Returns the same for a packet to a pod.
#[inline(always)]
pub fn inbound_fragment_key<B: Bytes + ?Sized>(bytes: &B, key: &PacketKey) -> Option<FragmentKey> {
    let start = ETHERNET + TAG * key.tags() as usize;
    read(bytes, start, key.source(), key.destination())
}

#[inline(always)]
fn read<B: Bytes + ?Sized>(
    bytes: &B,
    start: usize,
    source: &Address,
    destination: &Address,
) -> Option<FragmentKey> {
    let (id, protocol) = if source.is_v4() {
        let id = u16::from_be_bytes(bytes.read(start + IDENTIFICATION)?);
        let [protocol] = bytes.read(start + IPV4_PROTOCOL)?;
        (u32::from(id), u32::from(protocol))
    } else {
        let [next] = bytes.read(start + IPV6_NEXT_HEADER)?;
        if next != FRAGMENT {
            return None;
        }
        // The identification is enough: it is not counted by protocol (RFC 8200, section 4.5).
        (
            u32::from_be_bytes(bytes.read(start + IPV6_HEADER + IDENTIFICATION)?),
            0,
        )
    };
    Some(FragmentKey {
        source: *source,
        destination: *destination,
        id,
        protocol,
    })
}

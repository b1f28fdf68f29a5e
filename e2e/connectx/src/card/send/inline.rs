//! The Ethernet segment of a work request, with its inline header, and the data segments behind it.

use super::{Failure, descriptor::Descriptor};
use crate::card::{
    checksum::{FILL_NETWORK, FILL_TRANSPORT},
    descriptor::{DataSegment, INLINE},
    parse::word,
    vlan,
    work_queue::SEGMENT,
};

/// Offset of the Ethernet segment in a work request.
const ETHERNET: usize = 16;
/// Offset of the inline header, whose first two bytes are in the Ethernet segment.
const HEADER: usize = ETHERNET + 14;
/// Offset of what follows the Ethernet segment and its first two inline bytes.
const DATA: usize = ETHERNET + 16;
/// Bit of the inline header's size: a tag to insert is in its place (`MLX5_ETH_WQE_INSERT_VLAN`).
const INSERT_VLAN: u16 = 1 << 15;
/// Bit in addition to [`INSERT_VLAN`]: the tag is a service tag (`MLX5_ETH_WQE_SVLAN`).
const SERVICE_TAG: u16 = 1;
/// Bits of the size of an inline header or segment.
const SIZE: u32 = 0x3ff;

/// The Ethernet segment (`struct mlx5_wqe_eth_seg`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EthernetSegment {
    /// Checksums to fill in.
    pub(super) checksums: u8,
    /// Payload of each frame, with segmentation.
    pub(super) segment_size: u16,
    /// Type and control information of a tag to insert.
    pub(super) insert: Option<(u16, u16)>,
    /// The first bytes of the packet.
    pub(super) inline: Vec<u8>,
    /// Offset of the data segments in the work request.
    pub(super) end: usize,
}

impl EthernetSegment {
    pub(super) fn parse(descriptor: &Descriptor) -> Result<Self, Failure> {
        let bytes = &descriptor.bytes;
        if bytes.len() < DATA {
            return Err(Failure::operation("a work request without an Ethernet segment"));
        }
        let checksums = bytes[ETHERNET + 4];
        if checksums & !(FILL_NETWORK | FILL_TRANSPORT) != 0 || bytes[ETHERNET..ETHERNET + 4] != [0; 4] {
            return Err(Failure::operation(
                "checksums of inner headers, which the card does not have",
            ));
        }
        let size = word(bytes, ETHERNET + 12);
        let (insert, length) = if size & INSERT_VLAN != 0 {
            let ethertype = if size & SERVICE_TAG != 0 {
                vlan::SERVICE
            } else {
                vlan::CUSTOMER
            };
            (Some((ethertype, word(bytes, HEADER))), 0)
        } else {
            (None, usize::from(size & SIZE as u16))
        };
        let inline = bytes.get(HEADER..HEADER + length);
        Ok(Self {
            checksums,
            segment_size: word(bytes, ETHERNET + 6),
            insert,
            inline: inline
                .ok_or(Failure::operation("an inline header behind the work request"))?
                .to_vec(),
            end: DATA + length.saturating_sub(2).next_multiple_of(SEGMENT),
        })
    }
}

/// Data of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'d> {
    Inline(&'d [u8]),
    Memory(DataSegment),
}

/// Returns the data segments of a work request. The last may be a failure.
pub(super) fn segments(mut bytes: &[u8]) -> impl Iterator<Item = Result<Segment<'_>, Failure>> {
    std::iter::from_fn(move || {
        let head: &[u8; SEGMENT] = bytes.first_chunk()?;
        let count = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if count & !INLINE == 0 {
            bytes = &[];
            return Some(Err(Failure::operation("a data segment without data")));
        }
        if count & INLINE == 0 {
            bytes = &bytes[SEGMENT..];
            return Some(Ok(Segment::Memory(DataSegment::parse(head))));
        }
        let length = (count & SIZE) as usize;
        let Some(data) = bytes.get(4..4 + length) else {
            bytes = &[];
            return Some(Err(Failure::operation("inline data behind the work request")));
        };
        bytes = &bytes[(4 + length).next_multiple_of(SEGMENT).min(bytes.len())..];
        Some(Ok(Segment::Inline(data)))
    })
}

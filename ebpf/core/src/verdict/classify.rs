//! The ordered list: the first entry that matches and is not excluded decides.

use super::control::is_path_mtu;
use crate::parse::{Bytes, Packet, Transport};
use crate::tables::{Address, Block, Entry, MAX_ENTRIES};

/// Outside the range of every entry.
const NO_PORT: u32 = 0x1_0000;
/// Different from every entry's.
const NO_PROTOCOL: u32 = 0x100;

/// A packet as the entries see it: plain numbers, so that the verifier need not follow the loop once for every shape
/// of packet.
pub(super) struct Key {
    source: Address,
    protocol: u32,
    port: u32,
    /// Flags that an entry must have.
    required: u32,
}

impl Key {
    #[inline(always)]
    pub(super) fn new<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Self {
        Self {
            source: packet.source,
            protocol: bytes.forget(match packet.transport {
                Transport::LaterFragment => NO_PROTOCOL,
                _ => u32::from(packet.protocol),
            }),
            port: bytes.forget(match packet.transport {
                Transport::Ports { destination, .. } => u32::from(destination),
                _ => NO_PORT,
            }),
            required: bytes.forget(if is_path_mtu(packet) {
                u32::from(Entry::PROTOCOL)
            } else {
                0
            }),
        }
    }

    #[inline(always)]
    fn is_from(&self, entry: &Entry) -> bool {
        let high = (self.source.high ^ entry.source.high) & entry.mask.high;
        let low = (self.source.low ^ entry.source.low) & entry.mask.low;
        high | low == 0
    }

    #[inline(always)]
    fn is_to(&self, entry: &Entry) -> bool {
        if u32::from(entry.flags) & self.required != self.required {
            return false;
        }
        if entry.flags & Entry::PROTOCOL != 0 && self.protocol != u32::from(entry.protocol) {
            return false;
        }
        entry.flags & Entry::PORTS == 0
            || (u32::from(entry.port_first) <= self.port && self.port <= u32::from(entry.port_last))
    }
}

#[inline(always)]
pub(super) fn first_match<'b>(block: &'b Block, key: &Key) -> Option<&'b Entry> {
    let mut excluded = false;
    for index in 0..MAX_ENTRIES {
        if index as u32 >= block.len {
            break;
        }
        let entry = &block.entries[index];
        let from = key.is_from(entry);
        let decides = entry.flags & Entry::EXCEPT == 0;
        if decides && from && !excluded && key.is_to(entry) {
            return Some(entry);
        }
        if entry.flags & Entry::PEER_END != 0 {
            excluded = false;
        }
        if !decides && from {
            excluded = true;
        }
    }
    None
}

//! Receive side scaling: from a frame to a receive queue, by a TIR (transport interface receive).

use crate::card::{
    layout::{modify_tir_bitmask, tirc},
    parse::{Headers, TCP},
    toeplitz,
};

const INDIRECT: u64 = 1;
const TOEPLITZ: u64 = 2;

const SOURCE_ADDRESS: u64 = 1;
const DESTINATION_ADDRESS: u64 = 1 << 1;
const SOURCE_PORT: u64 = 1 << 2;
const DESTINATION_PORT: u64 = 1 << 3;
/// The selected fields in `rx_hash_field_select`; the bits above are the protocols.
const SELECTED: u64 = 0x3fff_ffff;

/// Where a TIR sends frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A receive queue.
    Queue(u32),
    /// The entry of an indirection table that the hash selects.
    Table(u32),
}

/// A TIR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tir {
    pub(crate) target: Target,
    hash: HashFunction,
    /// Timeout, maximum and types of LRO. The model keeps them and merges nothing.
    pub(crate) merge: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HashFunction {
    toeplitz: bool,
    /// Whether both directions of a connection have the same hash.
    symmetric: bool,
    key: [u8; toeplitz::KEY],
    fields: u64,
}

/// The hash of a frame, as a completion has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) value: u32,
    /// Bits 2 and 3: 1 for IPv4, 2 for IPv6. Bits 6 and 7: 1 for TCP, 2 for UDP (`CQE_RSS_HTYPE_IP`, `_L4`).
    pub(crate) kind: u8,
}

impl Tir {
    /// Parses a TIR context (`mlx5_ifc_tirc_bits`).
    pub(crate) fn parse(context: &[u8]) -> Self {
        let target = if tirc::DISP_TYPE.get(context) == INDIRECT {
            Target::Table(tirc::INDIRECT_TABLE.get(context) as u32)
        } else {
            Target::Queue(tirc::INLINE_RQN.get(context) as u32)
        };
        Self {
            target,
            hash: HashFunction::parse(context),
            merge: tirc::PACKET_MERGE_MASK.get(context),
        }
    }

    /// Takes the parts of a context that `mask` (`mlx5_ifc_modify_tir_bitmask_bits`) selects.
    pub(crate) fn modify(&mut self, context: &[u8], mask: &[u8]) {
        let new = Self::parse(context);
        if modify_tir_bitmask::HASH.get(mask) == 1 {
            self.hash = new.hash;
        }
        if modify_tir_bitmask::PACKET_MERGE.get(mask) == 1 {
            self.merge = new.merge;
        }
    }

    /// Returns the hash of a frame. Frames without RSS have none.
    pub(crate) fn hash(&self, frame: &[u8], headers: &Headers) -> Hash {
        match self.target {
            Target::Queue(_) => Hash::default(),
            Target::Table(_) => self.hash.of(frame, headers),
        }
    }
}

impl HashFunction {
    fn parse(context: &[u8]) -> Self {
        let key = tirc::RX_HASH_TOEPLITZ_KEY.byte();
        Self {
            toeplitz: tirc::RX_HASH_FN.get(context) == TOEPLITZ,
            symmetric: tirc::RX_HASH_SYMMETRIC.get(context) == 1,
            key: std::array::from_fn(|index| context.get(key + index).copied().unwrap_or(0)),
            fields: tirc::RX_HASH_FIELD_SELECTOR_OUTER.get(context) & SELECTED,
        }
    }

    fn of(&self, frame: &[u8], headers: &Headers) -> Hash {
        let (input, kind) = self.input(frame, headers);
        let value = if self.toeplitz {
            toeplitz::hash(&self.key, &input)
        } else {
            u32::from(!input.iter().fold(0_u8, |sum, byte| sum ^ byte))
        };
        Hash { value, kind }
    }

    /// Returns the selected fields of a frame, source first, and which kinds of fields those are.
    fn input(&self, frame: &[u8], headers: &Headers) -> (Vec<u8>, u8) {
        let (mut input, mut kind) = (Vec::new(), 0);
        if let Some(network) = headers
            .network
            .filter(|_| self.fields & (SOURCE_ADDRESS | DESTINATION_ADDRESS) != 0)
        {
            kind |= if network.version == 4 { 1 } else { 2 } << 2;
            let pair = (network.source(frame), network.destination(frame));
            let (first, second) = self.ordered(pair, SOURCE_ADDRESS | DESTINATION_ADDRESS);
            self.select(&mut input, SOURCE_ADDRESS, first);
            self.select(&mut input, DESTINATION_ADDRESS, second);
        }
        if let Some(transport) = headers
            .transport
            .filter(|_| self.fields & (SOURCE_PORT | DESTINATION_PORT) != 0)
        {
            kind |= if transport.protocol == TCP { 1 } else { 2 } << 6;
            let pair = (
                transport.source(frame).to_be_bytes(),
                transport.destination(frame).to_be_bytes(),
            );
            let (first, second) = self.ordered(pair, SOURCE_PORT | DESTINATION_PORT);
            self.select(&mut input, SOURCE_PORT, &first);
            self.select(&mut input, DESTINATION_PORT, &second);
        }
        (input, kind)
    }

    /// Orders a pair by value if the hash is symmetric and takes `both`.
    fn ordered<T: PartialOrd>(&self, pair: (T, T), both: u64) -> (T, T) {
        if self.symmetric && self.fields & both == both && pair.1 < pair.0 {
            (pair.1, pair.0)
        } else {
            pair
        }
    }

    fn select(&self, input: &mut Vec<u8>, field: u64, bytes: &[u8]) {
        if self.fields & field != 0 {
            input.extend_from_slice(bytes);
        }
    }
}

/// Returns the queue that an indirection table has for a hash.
pub(crate) fn queue(table: &[u32], hash: Hash) -> Option<u32> {
    // The size of a table is a power of two in the driver, so that the low bits select.
    table
        .get((hash.value as usize).checked_rem(table.len())?)
        .copied()
}

#[cfg(test)]
mod tests;

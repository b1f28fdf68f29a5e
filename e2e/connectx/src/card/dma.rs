//! Access to guest memory through memory keys.

use std::collections::BTreeMap;

use crate::card::{
    memory::GuestMemory,
    mkey::{Access, MemoryKey, Piece},
};

/// Guest memory and the keys to it.
pub(crate) struct Dma<'a> {
    pub(crate) memory: &'a mut GuestMemory,
    /// Keys by index.
    pub(crate) keys: &'a BTreeMap<u32, MemoryKey>,
}

impl Dma<'_> {
    /// Reads `length` bytes at `address` of a key.
    pub(crate) fn read(&mut self, key: u32, address: u64, length: usize) -> Result<Vec<u8>, &'static str> {
        let mut bytes = vec![0; length];
        let mut rest = bytes.as_mut_slice();
        for piece in self.pieces(key, address, length, Access::Read)? {
            let (part, behind) = rest.split_at_mut(piece.length);
            if !self.memory.read(piece.address, part) {
                return Err("a descriptor whose data is not in guest memory");
            }
            rest = behind;
        }
        Ok(bytes)
    }

    /// Writes `bytes` at `address` of a key.
    pub(crate) fn write(&mut self, key: u32, address: u64, mut bytes: &[u8]) -> Result<(), &'static str> {
        for piece in self.pieces(key, address, bytes.len(), Access::Write)? {
            let (part, behind) = bytes.split_at(piece.length);
            if !self.memory.write(piece.address, part) {
                return Err("a descriptor whose buffer is not in guest memory");
            }
            bytes = behind;
        }
        Ok(())
    }

    fn pieces(
        &self,
        key: u32,
        address: u64,
        length: usize,
        access: Access,
    ) -> Result<Vec<Piece>, &'static str> {
        find(self.keys, key)?.translate(address, length, access, |other| find(self.keys, other))
    }
}

/// Returns the memory key for a number in a descriptor.
fn find(keys: &BTreeMap<u32, MemoryKey>, key: u32) -> Result<&MemoryKey, &'static str> {
    keys.get(&(key >> 8))
        .filter(|found| u32::from(found.variant) == key & 0xff)
        .ok_or("an unknown memory key")
}

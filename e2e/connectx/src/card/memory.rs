//! The guest's memory, as the client shares it (`DMA_MAP` with a file descriptor).

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    sync::atomic::{Ordering, fence},
};

use memmap2::{MmapOptions, MmapRaw};

use crate::card::findings::Finding;

/// More faults than this say nothing new.
const MOST_FAULTS: usize = 100;

/// A range of bus addresses and the memory behind it.
struct Region {
    address: u64,
    memory: MmapRaw,
}

impl Region {
    /// Returns the position of `address` in this region, and the number of bytes from there to its end.
    fn at(&self, address: u64) -> Option<(usize, usize)> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok()?;
        Some((
            offset,
            self.memory.len().checked_sub(offset).filter(|left| *left > 0)?,
        ))
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        assert!(
            offset
                .checked_add(buffer.len())
                .is_some_and(|end| end <= self.memory.len())
        );
        #[expect(
            unsafe_code,
            reason = "the memory is shared with the guest: no reference to it may exist"
        )]
        // SAFETY: the range lies in the mapping, as asserted; `buffer` is our own, so they do not overlap.
        unsafe {
            self.memory
                .as_ptr()
                .add(offset)
                .copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len());
        }
    }

    fn write(&self, offset: usize, buffer: &[u8]) {
        assert!(
            offset
                .checked_add(buffer.len())
                .is_some_and(|end| end <= self.memory.len())
        );
        #[expect(
            unsafe_code,
            reason = "the memory is shared with the guest: no reference to it may exist"
        )]
        // SAFETY: the range lies in the mapping, as asserted; `buffer` is our own, so they do not overlap.
        unsafe {
            self.memory
                .as_mut_ptr()
                .add(offset)
                .copy_from_nonoverlapping(buffer.as_ptr(), buffer.len());
        }
    }
}

/// The memory that the card can access by DMA.
#[derive(Default)]
pub(crate) struct GuestMemory {
    regions: Vec<Region>,
    /// The most bytes that were mapped at once.
    most: u64,
    /// Accesses to addresses where there is no memory.
    pub(crate) faults: Vec<Finding>,
}

impl GuestMemory {
    /// Maps `size` bytes of `file` from `offset` on at the bus address `address`.
    pub(crate) fn map(&mut self, address: u64, size: u64, offset: u64, file: impl AsFd) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let end = address.checked_add(size).ok_or(io::ErrorKind::InvalidInput)?;
        if self
            .regions
            .iter()
            .any(|region| region.address < end && address < region.end())
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let length = nix::sys::stat::fstat(&file)?.st_size as u64;
        if offset.checked_add(size).is_none_or(|end| end > length) {
            // An access behind the end of the file would kill the process.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let memory = MmapOptions::new()
            .offset(offset)
            .len(usize::try_from(size).map_err(too_large)?)
            .map_raw(file.as_fd().as_raw_fd())?;
        self.regions.push(Region { address, memory });
        self.most = self.most.max(self.mapped());
        // The first one found is mostly the guest's main memory.
        self.regions
            .sort_by_key(|region| std::cmp::Reverse(region.memory.len()));
        Ok(())
    }

    /// Removes what lies between the addresses.
    pub(crate) fn unmap(&mut self, address: u64, size: u64) {
        let end = address.saturating_add(size);
        self.regions
            .retain(|region| region.address < address || region.end() > end);
    }

    /// Removes all memory: the client is gone.
    pub(crate) fn clear(&mut self) {
        self.regions.clear();
        self.most = 0;
    }

    fn mapped(&self) -> u64 {
        self.regions.iter().map(|region| region.memory.len() as u64).sum()
    }

    /// Returns whether the guest has its memory. A client that ends withdraws it piece by piece.
    pub(crate) fn is_present(&self) -> bool {
        self.mapped() > self.most / 2
    }

    fn at(&self, address: u64) -> Option<(&Region, usize, usize)> {
        self.regions
            .iter()
            .find_map(|region| region.at(address).map(|(offset, left)| (region, offset, left)))
    }

    /// Reads guest memory; returns false (and keeps the fault) where there is none.
    pub(crate) fn read(&mut self, mut address: u64, mut buffer: &mut [u8]) -> bool {
        while !buffer.is_empty() {
            let Some((region, offset, left)) = self.at(address) else {
                return self.fault(address, false);
            };
            let (part, rest) = buffer.split_at_mut(left.min(buffer.len()));
            region.read(offset, part);
            address = address.wrapping_add(part.len() as u64);
            buffer = rest;
        }
        true
    }

    /// Writes guest memory; returns false (and keeps the fault) where there is none.
    pub(crate) fn write(&mut self, mut address: u64, mut buffer: &[u8]) -> bool {
        while !buffer.is_empty() {
            let Some((region, offset, left)) = self.at(address) else {
                return self.fault(address, true);
            };
            let (part, rest) = buffer.split_at(left.min(buffer.len()));
            region.write(offset, part);
            address = address.wrapping_add(part.len() as u64);
            buffer = rest;
        }
        true
    }

    fn fault(&mut self, address: u64, write: bool) -> bool {
        if self.is_present() && self.faults.len() < MOST_FAULTS {
            self.faults.push(Finding::DmaFault { address, write });
        }
        false
    }

    /// Reads a big-endian number; 0 where there is no memory.
    pub(crate) fn be32(&mut self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes);
        u32::from_be_bytes(bytes)
    }

    /// Reads a big-endian number; 0 where there is no memory.
    pub(crate) fn be64(&mut self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// Writes an entry so that its last byte, which hands it over to the driver, becomes visible last.
    pub(crate) fn write_owned(&mut self, address: u64, entry: &[u8]) {
        let Some((owner, body)) = entry.split_last() else {
            return;
        };
        self.write(address, body);
        fence(Ordering::SeqCst);
        self.write(address.wrapping_add(body.len() as u64), &[*owner]);
    }
}

impl Region {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.memory.len() as u64)
    }
}

#[cfg(test)]
mod tests;

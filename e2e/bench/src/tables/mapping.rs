//! A map in this process's memory.
#![expect(unsafe_code, reason = "maps are mapped into memory, as the agent does it")]

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapInfo;

/// `BPF_F_MMAPABLE`
const MMAPABLE: u32 = 1 << 10;

/// A map that is mapped into memory until it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: *mut u8,
    length: usize,
    /// Bytes of one element, with the kernel's padding.
    pub(super) element: usize,
    /// Maximum number of elements.
    pub(super) room: usize,
}

impl Mapping {
    /// Maps a pinned map; returns `None` if it is not mmapable.
    pub(super) fn open(path: &Path, writable: bool) -> Result<Option<Self>> {
        let info = MapInfo::from_pin(path).with_context(|| format!("`{}`", path.display()))?;
        if info.map_flags() & MMAPABLE == 0 {
            return Ok(None);
        }
        let (element, room) = (
            info.value_size().next_multiple_of(8) as usize,
            info.max_entries() as usize,
        );
        let length = (element * room).next_multiple_of(4096);
        let access = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let fd = info.fd()?;
        // SAFETY: a new shared mapping of the map's own length.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        ensure!(
            start != libc::MAP_FAILED,
            "mmap of `{}`: {}",
            path.display(),
            std::io::Error::last_os_error()
        );
        Ok(Some(Self {
            start: start.cast(),
            length,
            element,
            room,
        }))
    }

    /// Returns a copy of all elements.
    pub(super) fn copy(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.element * self.room];
        // SAFETY: the mapping is at least that long and stays until it is dropped. The agent may write at
        // the same time, so an element may be torn.
        unsafe { std::ptr::copy_nonoverlapping(self.start, bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }

    /// Overwrites bytes at an offset.
    ///
    /// # Panics
    /// If the bytes are not inside the map.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "outside of the map");
        // SAFETY: inside the mapping, which is writable where this is called; programs read it at the same
        // time, as they do of every map.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps the mapping of `open`, which has no other references.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

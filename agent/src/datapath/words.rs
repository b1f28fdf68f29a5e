//! The slots' words, mapped into this process: setting one is a single store.
//!
//! An update by system call copies bytes (`copy_map_value`, `include/linux/bpf.h`), and nothing promises that a program
//! running meanwhile sees all eight of them at once.
#![expect(unsafe_code, reason = "memory shared with programs in the kernel")]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use xdp_core::tables::{MAX_SLOTS, SlotWord, maps};

use super::error::OpenError;
use super::pins::Pins;
use super::sys;

/// The map's memory.
pub(super) struct Words(MmapRaw);

impl Words {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        let path = pins.map(maps::SLOTS);
        let failed = |source: io::Error| OpenError::pin("map", &path, source);
        let map = sys::open_pin(&path).map_err(failed)?;
        let length = MAX_SLOTS as usize * size_of::<AtomicU64>();
        Ok(Self(
            MmapOptions::new().len(length).map_raw(&map).map_err(failed)?,
        ))
    }

    pub(super) fn get(&self, slot: u32) -> Option<SlotWord> {
        Some(SlotWord(self.word(slot)?.load(Ordering::Acquire)))
    }

    /// A block written before is seen by whoever sees the word: by system call, so with a full barrier in between.
    pub(super) fn set(&self, slot: u32, word: SlotWord) -> io::Result<()> {
        let place = self.word(slot).ok_or(io::ErrorKind::NotFound)?;
        place.store(word.0, Ordering::Release);
        Ok(())
    }

    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        if slot >= MAX_SLOTS {
            return None;
        }
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        let words = self.0.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping holds MAX_SLOTS aligned words and lives as long as `self`; everybody in user space
        // accesses them atomically, and programs read each in one load.
        Some(unsafe { &*words.add(slot as usize) })
    }
}

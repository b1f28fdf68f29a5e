//! Array maps whose memory is mapped into this process.
//!
//! An update by system call copies bytes (`copy_map_value`, `include/linux/bpf.h`), and the kernel does not
//! promise that a running program sees eight of them at once. Through a mapping, one store sets a word, and
//! thousands of blocks are written without a system call for each.
#![expect(unsafe_code, reason = "memory shared with programs in the kernel")]

use std::{
    io,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};

use crate::datapath::{
    error::OpenError,
    kernel::{pins::Pins, plain::PlainOldData, sys},
};

/// The mapped elements of one array map.
pub(in crate::datapath) struct MmapArray<T> {
    memory: MmapRaw,
    len: u32,
    elements: PhantomData<T>,
}

impl<T> MmapArray<T> {
    /// The kernel keeps elements eight bytes apart, or a multiple of that (`array_map_alloc`,
    /// `kernel/bpf/arraymap.c`).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);
    const ALIGNED: () = assert!(align_of::<T>() <= 8);

    /// Maps a pinned map of `len` elements.
    pub(in crate::datapath) fn open(pins: &Pins, name: &str, len: u32) -> Result<Self, OpenError> {
        let () = Self::ALIGNED;
        let path = pins.map(name);
        let failed = |source: io::Error| OpenError::pin("map", &path, source);
        let map = sys::open_pin(&path).map_err(failed)?;
        let bytes = len as usize * Self::STRIDE;
        Ok(Self {
            memory: MmapOptions::new().len(bytes).map_raw(&map).map_err(failed)?,
            len,
            elements: PhantomData,
        })
    }

    /// Returns the number of elements.
    pub(in crate::datapath) const fn len(&self) -> u32 {
        self.len
    }

    fn at(&self, index: u32) -> Option<*mut T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: the mapping holds `len` elements, each at a multiple of the stride, and `index` is one of
        // them.
        let element = unsafe { self.memory.as_mut_ptr().add(index as usize * Self::STRIDE) };
        Some(element.cast())
    }
}

impl<T: PlainOldData> MmapArray<T> {
    /// Returns an element. A reader that did not follow a word to it may see an element that the agent is
    /// writing: its numbers can be inconsistent, but they are always valid.
    pub(in crate::datapath) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: the element is inside the mapping, which lives as long as `self`, and aligned: a mapping
        // begins at a page, and the stride is a multiple of eight. Every bit pattern is a valid
        // value. This process writes it only through `&mut self`.
        self.at(index).map(|element| unsafe { &*element })
    }

    /// Writes an element. No word may lead to it yet: a program can see the bytes in any order.
    pub(in crate::datapath) fn set(&mut self, index: u32, value: &T) -> io::Result<()> {
        let element = self.at(index).ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: as above; `&mut self` is the only way to the element in this process.
        unsafe { element.write(*value) };
        Ok(())
    }
}

impl MmapArray<AtomicU64> {
    /// Loads a word. What was written before the word was stored is visible after this call.
    pub(in crate::datapath) fn load(&self, index: u32) -> Option<u64> {
        Some(self.word(index)?.load(Ordering::Acquire))
    }

    /// Stores a word. A reader that sees it also sees the blocks that were written before.
    pub(in crate::datapath) fn store(&self, index: u32, word: u64) -> io::Result<()> {
        let place = self.word(index).ok_or(io::ErrorKind::NotFound)?;
        place.store(word, Ordering::Release);
        Ok(())
    }

    fn word(&self, index: u32) -> Option<&AtomicU64> {
        // SAFETY: inside the mapping and aligned, as above; every process accesses words atomically, and
        // programs read each in one load.
        self.at(index).map(|word| unsafe { &*word })
    }
}

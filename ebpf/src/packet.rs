//! The only file that follows pointers into packets.
//!
//! The verifier knows the range of a packet pointer only after a comparison with the packet's end, and only
//! for the value that was compared. Each access in this file is one such comparison, and the access behind
//! it.
#![expect(unsafe_code, reason = "packet bytes are reached by address")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::bpf_skb_load_bytes,
    programs::{TcContext, XdpContext},
};
use xdp_core::metadata::{LEN, Metadata};

use crate::{bytes, opaque::same_value};

/// Parsing reaches no larger offset. The verifier refuses packet pointers whose offset has no bound.
const MAX_OFFSET: usize = 0x7fff;

/// Where a packet is: the metadata, then the packet. A program reads the addresses again for each access:
/// after some helpers the verifier no longer knows them, and otherwise it would track more than is useful.
pub(crate) trait Window {
    /// Returns the address of the metadata.
    fn data_meta(&self) -> usize;

    /// Returns the address of the packet, and of the end of the metadata.
    fn data(&self) -> usize;

    /// Returns the end of the bytes that are at an address.
    fn data_end(&self) -> usize;

    /// Copies bytes that are not at an address. `None` if they are beyond the packet's end.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let _ = offset;
        None
    }
}

impl Window for XdpContext {
    #[inline(always)]
    fn data_meta(&self) -> usize {
        self.metadata()
    }

    #[inline(always)]
    fn data(&self) -> usize {
        Self::data(self)
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        Self::data_end(self)
    }
}

/// Only the head of an skb's packet is at an address. Headers rarely reach beyond it.
impl Window for TcContext {
    #[inline(always)]
    fn data_meta(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (*self.skb.skb).data_meta as usize }
    }

    #[inline(always)]
    fn data(&self) -> usize {
        Self::data(self)
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        Self::data_end(self)
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut copy = MaybeUninit::<[u8; N]>::uninit();
        let to = copy.as_mut_ptr().cast();
        // SAFETY: the context is the program's own, and the helper writes `N` bytes.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), offset as u32, to, N as u32) };
        // SAFETY: if it did not fail, the helper wrote all of them.
        (failed == 0).then(|| unsafe { copy.assume_init() })
    }
}

/// Reads bytes. `None` if they are beyond the packet's end.
#[inline(always)]
pub(crate) fn read<const N: usize>(window: &impl Window, offset: usize) -> Option<[u8; N]> {
    // The value that is compared must be the value that is added.
    let offset = same_value(offset);
    if offset > MAX_OFFSET {
        return None;
    }
    let at = same_value(window.data() + offset);
    if at + N <= window.data_end() {
        // SAFETY: `at..at + N` is inside the packet, and bytes have no alignment.
        return Some(unsafe { bytes::load(at) });
    }
    window.copy(offset)
}

/// Reads bytes without an access by address, if the window can.
#[inline(always)]
pub(crate) fn copy<const N: usize>(window: &impl Window, offset: usize) -> Option<[u8; N]> {
    if offset > MAX_OFFSET {
        return None;
    }
    window.copy(offset)
}

/// Writes bytes. `None` if they are beyond the packet's end.
#[inline(always)]
pub(crate) fn write<const N: usize>(window: &impl Window, offset: usize, bytes: [u8; N]) -> Option<()> {
    if offset > MAX_OFFSET {
        return None;
    }
    let at = same_value(window.data() + offset);
    if at + N > window.data_end() {
        return None;
    }
    // SAFETY: `at..at + N` is inside the packet, which the program owns while it runs.
    unsafe { bytes::store(at, bytes) };
    Some(())
}

/// Reads the metadata in front of a packet.
#[inline(always)]
pub(crate) fn read_metadata(window: &impl Window) -> Option<Metadata> {
    let at = window.data_meta();
    if at + LEN > window.data() {
        return None;
    }
    // SAFETY: `at..at + LEN` is between `data_meta` and `data`.
    Metadata::read(&unsafe { bytes::load::<LEN>(at) })
}

/// Overwrites the metadata in front of a packet. `None` if there is none.
#[inline(always)]
pub(crate) fn write_metadata(window: &impl Window, metadata: &Metadata) -> Option<()> {
    let at = window.data_meta();
    if at + LEN > window.data() {
        return None;
    }
    // SAFETY: `at..at + LEN` is between `data_meta` and `data`.
    unsafe { bytes::store(at, metadata.to_bytes()) };
    Some(())
}

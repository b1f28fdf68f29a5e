//! The only file that follows pointers into packets.
//!
//! The verifier knows a packet pointer's range only after a comparison with the end of the packet, on the same value
//! that is dereferenced. Every access here is one such comparison and one access behind it.
#![expect(unsafe_code, reason = "packet bytes are reached by address")]

use core::arch::asm;

use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta};
use aya_ebpf::programs::{TcContext, XdpContext};
use xdp_core::metadata::{LEN, Metadata};
use xdp_core::parse::Bytes;

/// No offset that parsing can reach is larger. The verifier refuses packet pointers whose offset it cannot bound.
const MAX_OFFSET: usize = 0x7fff;

type Words = [u32; LEN / 4];

/// A frame as it arrived. Dead after any of the functions below.
pub(crate) struct Frame {
    start: usize,
    end: usize,
    /// Any number that the verifier does not know.
    unknown: u32,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
            unknown: ctx.rx_queue_index(),
        }
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = one_value(self.start + offset);
        if at + N > self.end {
            return None;
        }
        // SAFETY: `at..at + N` lies between the start and the end of the packet, and bytes have no alignment.
        Some(unsafe { *core::ptr::with_exposed_provenance::<[u8; N]>(at) })
    }

    #[inline(always)]
    fn forget(&self, mut value: u32) -> u32 {
        // SAFETY: two exclusive-ors that cancel each other. The verifier does not see that they do. Volatile, so that
        // it happens here and not after the loop that it is for.
        unsafe {
            asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) self.unknown, options(nomem, nostack));
        }
        value
    }
}

/// Keeps the compiler from computing an address a second time: the verifier would see another pointer, without the
/// range that the comparison gave to the first.
#[inline(always)]
fn one_value(mut address: usize) -> usize {
    // SAFETY: a move to itself. (An empty template would give two source lines to one instruction, which the kernel
    // refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
    address
}

/// Writes bytes at a constant offset; `None` if they would not fit.
#[inline(always)]
pub(crate) fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    let at = ctx.data() + offset;
    if at + N > ctx.data_end() {
        return None;
    }
    // SAFETY: `at..at + N` lies inside the packet, which this program owns while it runs.
    unsafe { *core::ptr::with_exposed_provenance_mut::<[u8; N]>(at) = bytes };
    Some(())
}

/// Puts metadata in front of the packet; `None`, and nothing changed, if there is no room.
#[inline(always)]
pub(crate) fn push_metadata(ctx: &XdpContext, metadata: &Metadata) -> Option<()> {
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(LEN as i32)) } != 0 {
        return None;
    }
    let at = ctx.metadata();
    if at + LEN > ctx.data() {
        drop_metadata(ctx);
        return None;
    }
    // SAFETY: `at..at + LEN` lies between `data_meta` and `data`; the kernel keeps `data_meta` a multiple of four away
    // from `data` and accepts any alignment on the architectures that have native XDP.
    unsafe { core::ptr::with_exposed_provenance_mut::<Words>(at).write_unaligned(metadata.words()) };
    Some(())
}

/// Takes back what [`push_metadata`] did.
#[inline(always)]
pub(crate) fn drop_metadata(ctx: &XdpContext) {
    // SAFETY: the context is the program's own. Shrinking by what was just added cannot fail.
    unsafe { bpf_xdp_adjust_meta(ctx.ctx, LEN as i32) };
}

/// Takes bytes off the front, moving the metadata along; `None`, and nothing changed, if that is refused.
#[inline(always)]
pub(crate) fn pull(ctx: &XdpContext, bytes: i32) -> Option<()> {
    // SAFETY: the context is the program's own.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, bytes) } == 0).then_some(())
}

/// The metadata in front of a packet in the pod.
#[inline(always)]
pub(crate) fn metadata(ctx: &TcContext) -> Option<Metadata> {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (at, end) = unsafe { ((*skb).data_meta as usize, (*skb).data as usize) };
    if at + LEN > end {
        return None;
    }
    // SAFETY: `at..at + LEN` lies between `data_meta` and `data`.
    Metadata::from_words(unsafe { core::ptr::with_exposed_provenance::<Words>(at).read_unaligned() })
}

/// Packets and bytes behind one skb: GRO may have merged several.
#[inline(always)]
pub(crate) fn size(ctx: &TcContext) -> (u64, u64) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (segments, bytes) = unsafe { ((*skb).gso_segs, (*skb).len) };
    (u64::from(segments.max(1)), u64::from(bytes))
}

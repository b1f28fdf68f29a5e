//! Access to the bytes of a packet, with a bounds check for each.

use aya_ebpf::{helpers::bpf_xdp_adjust_meta, programs::XdpContext};
use xdp_bench_ebpf::{MAGIC, METADATA};

/// Reads at a constant offset from `start`.
#[inline(always)]
pub(crate) fn read<T: Copy>(start: usize, end: usize, offset: usize) -> Option<T> {
    let at = start + offset;
    if at + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the bytes lie inside the packet; every type read is made of integers.
    Some(unsafe { core::ptr::with_exposed_provenance::<T>(at).read_unaligned() })
}

/// Writes at a constant offset from the packet's start.
#[inline(always)]
pub(crate) fn write<T: Copy>(ctx: &XdpContext, offset: usize, value: T) -> Option<()> {
    let at = ctx.data() + offset;
    if at + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes lie inside the packet, which the program owns while it runs.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(at).write_unaligned(value) };
    Some(())
}

/// Puts metadata as large as the product's in front of the packet.
#[inline(always)]
pub(crate) fn push_metadata(ctx: &XdpContext, rule: u32) -> Option<()> {
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(METADATA as i32)) } != 0 {
        return None;
    }
    let at = ctx.metadata();
    if at + METADATA > ctx.data() {
        return None;
    }
    let words = [u32::from(MAGIC) | 1 << 16 | 1 << 24, rule, rule, 0_u32];
    // SAFETY: the bytes lie between `data_meta` and `data`.
    unsafe { core::ptr::with_exposed_provenance_mut::<[u32; 4]>(at).write_unaligned(words) };
    Some(())
}

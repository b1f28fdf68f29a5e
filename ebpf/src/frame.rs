//! Frames of XDP programs.
#![expect(unsafe_code, reason = "helpers take the context")]

use aya_ebpf::{
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use xdp_core::{
    metadata::{LEN, Metadata},
    parse::Bytes,
    reject::Edit,
    verdict::{Kind, VerdictCode},
};

use crate::{
    opaque::{SMALL, barrier, opaque, small},
    packet,
};

/// A frame, from the Ethernet header on.
pub(crate) struct Frame<'c> {
    ctx: &'c XdpContext,
}

impl<'c> Frame<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx }
    }
}

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        packet::read(self.ctx, offset)
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        opaque(u64::from(value), u64::from(self.ctx.rx_queue_index())) as u32
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.ctx.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn barrier<T>(&self, value: &mut T) {
        barrier(value);
    }
}

impl Edit for Frame<'_> {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        write(self.ctx, offset, bytes)
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        adjust_head(self.ctx, -(bytes as i32))
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        let excess = self.length().saturating_sub(length);
        // SAFETY: the context is the program's own.
        (unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, -(excess as i32)) } == 0).then_some(())
    }
}

/// Makes a verdict opaque to the verifier, which still knows that its kind is a small number: comparisons of
/// a number that may be negative, some with a sign and some without one, lead it to ranges that contradict
/// each other, and Linux 6.18 warns about them ("REG INVARIANTS VIOLATION", `reg_bounds_sanity_check` in
/// kernel/bpf/verifier.c).
#[inline(always)]
pub(crate) fn opaque_verdict(ctx: &XdpContext, verdict: &mut VerdictCode) {
    const { assert!(Kind::ALL.len() <= SMALL as usize) };
    let unknown = u64::from(ctx.rx_queue_index());
    let kind = small(opaque(verdict.kind as u64, unknown)) as u32;
    *verdict = VerdictCode {
        // SAFETY: the value did not change.
        kind: unsafe { core::mem::transmute::<u32, Kind>(kind) },
        reason: opaque(u64::from(verdict.reason), unknown) as u32,
    };
}

/// Writes bytes. `None` if the frame is too short.
#[inline(always)]
pub(crate) fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    packet::write(ctx, offset, bytes)
}

/// Puts metadata in front of the frame. `None`, and nothing is changed, if there is no headroom.
#[inline(always)]
pub(crate) fn push_metadata(ctx: &XdpContext, metadata: &Metadata) -> Option<()> {
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(LEN as i32)) } != 0 {
        return None;
    }
    let written = packet::write_metadata(ctx, metadata);
    if written.is_none() {
        drop_metadata(ctx);
    }
    written
}

/// Reverts [`push_metadata`].
#[inline(always)]
pub(crate) fn drop_metadata(ctx: &XdpContext) {
    // SAFETY: the context is the program's own. Removing what was just added cannot fail.
    unsafe { bpf_xdp_adjust_meta(ctx.ctx, LEN as i32) };
}

/// Removes bytes from the front, or adds bytes if the number is negative. Metadata moves along. `None`, and
/// nothing is changed, if the kernel refuses.
#[inline(always)]
pub(crate) fn adjust_head(ctx: &XdpContext, bytes: i32) -> Option<()> {
    // SAFETY: the context is the program's own.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, bytes) } == 0).then_some(())
}

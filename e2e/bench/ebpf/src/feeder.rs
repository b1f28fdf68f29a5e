//! Feeds a program with flows: writes the next frame over the packet, then tail-calls the program under test.
//!
//! `BPF_PROG_TEST_RUN` repeats one packet: caches and branch predictors adapt to it, and changes by the
//! program (a new MAC address, metadata) persist. With the feeder, every run starts with an unchanged packet
//! of another flow.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_meta},
    macros::{map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::XdpContext,
};
use xdp_bench_ebpf::{FLOWS, FeederPlan, FeederProgress, FrameBytes, SETS};

use crate::packet;

#[map]
static PLAN: Array<FeederPlan> = Array::with_max_entries(1, 0);
#[map]
static PROGRESS: PerCpuArray<FeederProgress> = PerCpuArray::with_max_entries(1, 0);
#[map]
static FRAMES: Array<FrameBytes> = Array::with_max_entries(FLOWS * SETS, 0);
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[xdp]
fn feed(ctx: XdpContext) -> u32 {
    if next(&ctx).is_some() {
        // SAFETY: nothing here needs to be dropped.
        unsafe { UNDER_TEST.tail_call(&ctx, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn next(ctx: &XdpContext) -> Option<()> {
    let plan = PLAN.get(0)?;
    // SAFETY: the element belongs to this CPU.
    let progress = unsafe { &mut *PROGRESS.get_ptr_mut(0)? };
    let number = progress.count;
    progress.count = number + 1;
    if number == 0 {
        progress.first = now();
    } else if number + 1 == plan.total {
        progress.last = now();
    }
    let frame = FRAMES.get(plan.base + (number as u32 & plan.mask))?;
    let metadata = ctx.data() - ctx.metadata();
    if metadata != 0 {
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_adjust_meta(ctx.ctx, metadata as i32) };
    }
    packet::write(ctx, 0, *frame)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

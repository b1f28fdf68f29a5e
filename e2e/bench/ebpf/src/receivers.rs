//! Count packets in pods, and check their metadata and marks.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action::XDP_DROP},
    helpers::bpf_ktime_get_ns,
    macros::{classifier, map, xdp},
    maps::{Array, PerCpuArray},
    programs::{TcContext, XdpContext},
};
use xdp_bench_ebpf::{EXPECTS, MAGIC, ReceivedPackets};

use crate::{ceilings::NEXT, packet};

#[map]
static RECEIVED: PerCpuArray<ReceivedPackets> = PerCpuArray::with_max_entries(1, 0);
/// Arrival time of the first packet with a mark, by mark modulo the length; 0: none yet.
#[map]
static FIRST: Array<u64> = Array::with_max_entries(4096, 0);
/// Packets with a mark, by mark modulo the length.
#[map]
static MARKS: PerCpuArray<u64> = PerCpuArray::with_max_entries(4096, 0);

/// On a pod's interface: consumes packets as `AF_XDP` or another XDP program would.
#[xdp]
fn swallow(ctx: XdpContext) -> u32 {
    let (data, end, metadata) = (ctx.data(), ctx.data_end(), ctx.metadata());
    if let Some(received) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU.
        let received = unsafe { &mut *received };
        received.packets += 1;
        if let Some(mark) = expected(data, end) {
            received.expecting += 1;
            received.right += u64::from(mark_of(metadata, data) == Some(mark));
        }
    }
    XDP_DROP
}

/// On a NIC: the smallest program that drops packets and counts them.
#[xdp]
fn count_drop(_: XdpContext) -> u32 {
    if let Some(received) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU.
        unsafe { (*received).expecting += 1 };
    }
    XDP_DROP
}

/// On a pod's interface, after the product's reader.
#[classifier]
fn sink(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (metadata, mark) = unsafe { ((*skb).data_meta as usize, (*skb).mark) };
    let (data, end) = (ctx.data(), ctx.data_end());
    if is_arp(data, end) {
        return NEXT;
    }
    if let Some(received) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU.
        let received = unsafe { &mut *received };
        received.packets += 1;
        if let Some(wanted) = expected(data, end) {
            received.expecting += 1;
            if mark != wanted {
                received.wrong += 1;
            } else if mark_of(metadata, data) == Some(wanted) {
                received.right += 1;
            }
        }
    }
    TC_ACT_SHOT
}

/// Counts packets by mark, and records when each mark first arrives.
#[classifier]
fn watch(ctx: TcContext) -> i32 {
    // SAFETY: the context is the program's own.
    let mark = unsafe { (*ctx.skb.skb).mark } & 4095;
    if let Some(count) = MARKS.get_ptr_mut(mark) {
        // SAFETY: the element belongs to this CPU.
        unsafe { *count += 1 };
    }
    if let Some(first) = FIRST.get_ptr_mut(mark) {
        // SAFETY: one CPU at a time handles an interface's only queue.
        unsafe {
            if *first == 0 {
                *first = bpf_ktime_get_ns();
            }
        }
    }
    TC_ACT_SHOT
}

/// ARP must reach the stack, or the node does not forward to the pod.
#[inline(always)]
fn is_arp(data: usize, end: usize) -> bool {
    packet::read::<u16>(data, end, 12) == Some(u16::to_be(0x0806))
}

#[inline(always)]
fn expected(data: usize, end: usize) -> Option<u32> {
    let source: [u8; 6] = packet::read(data, end, 6)?;
    let [a, b, mark @ ..] = source;
    ([a, b] == EXPECTS).then_some(u32::from_be_bytes(mark))
}

/// Returns the mark in the metadata, after magic, version and the flag that a mark is present.
#[inline(always)]
fn mark_of(metadata: usize, data: usize) -> Option<u32> {
    let words: [u32; 3] = packet::read(metadata, data, 0)?;
    (words[0] == u32::from(MAGIC) | 1 << 16 | 1 << 24).then_some(words[2])
}

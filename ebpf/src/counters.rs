//! Per-CPU counters: plain additions, because no other CPU writes them.
#![expect(unsafe_code, reason = "counters are updated in place")]

use aya_ebpf::maps::PerCpuArray;
use xdp_core::{
    tables::Count,
    verdict::{Trace, VerdictCode},
};

use crate::tables::{DELIVERED, EVENTS, RULE_COUNTERS};

/// Counts a packet by its outcome.
#[inline(always)]
pub(crate) fn count(rule: Option<u32>, outcome: VerdictCode, bytes: u64) {
    if let (Some(rule), Some(field)) = (rule, outcome.kind.field())
        && let Some(counters) = RULE_COUNTERS.get_ptr_mut(rule)
    {
        // SAFETY: the element belongs to this CPU, and XDP programs of one CPU do not interrupt each other.
        add(field.of(unsafe { &mut *counters }), 1, bytes);
    }
    if outcome.reason != Trace::ABSENT {
        event(outcome.reason, bytes);
    }
}

/// Counts an event.
#[inline(always)]
pub(crate) fn event(code: u32, bytes: u64) {
    add_to(&EVENTS, code, 1, bytes);
}

/// Counts an event of several packets.
#[inline(always)]
pub(crate) fn events(code: u32, packets: u64, bytes: u64) {
    add_to(&EVENTS, code, packets, bytes);
}

/// Counts packets that the reader saw.
#[inline(always)]
pub(crate) fn delivered(rule: u32, packets: u64, bytes: u64) {
    add_to(&DELIVERED, rule, packets, bytes);
}

#[inline(always)]
fn add_to(map: &PerCpuArray<Count>, index: u32, packets: u64, bytes: u64) {
    if let Some(count) = map.get_ptr_mut(index) {
        // SAFETY: as above; the reader as well runs in softirq.
        add(unsafe { &mut *count }, packets, bytes);
    }
}

#[inline(always)]
fn add(count: &mut Count, packets: u64, bytes: u64) {
    count.packets = count.packets.wrapping_add(packets);
    count.bytes = count.bytes.wrapping_add(bytes);
}

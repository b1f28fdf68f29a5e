//! The map of fragmented packets: only the first fragment of a packet has ports.
#![expect(unsafe_code, reason = "map values are shared with other CPUs")]

use aya_ebpf::{macros::map, maps::PerCpuArray};
use xdp_core::tables::FragmentKey;

use crate::tables::FRAGMENTS;

/// The fragmented packet to a pod that this CPU handles. It saves stack.
#[map]
static FRAGMENT: PerCpuArray<FragmentKey> = PerCpuArray::with_max_entries(1, 0);

/// Stores what the fragments of the packet have in common. Programs of one CPU do not interrupt each other.
#[inline(always)]
pub(crate) fn store(key: FragmentKey) -> Option<&'static FragmentKey> {
    let at = FRAGMENT.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, and lives as long as the map.
    unsafe { at.write(key) };
    stored()
}

/// Returns what this CPU stored last.
#[inline(always)]
pub(crate) fn stored() -> Option<&'static FragmentKey> {
    // SAFETY: as above. Maps are initially zero, which is a valid key.
    FRAGMENT.get_ptr(0).map(|at| unsafe { &*at })
}

/// Records a fragmented packet.
#[inline(always)]
pub(crate) fn record(key: &FragmentKey) {
    // If that fails, the later fragments of a reply take the stack, and those of an answer meet the rules.
    let _ = FRAGMENTS.insert(key, 0, 0);
}

/// Whether the first fragment of the packet was recorded.
#[inline(always)]
pub(crate) fn has(key: &FragmentKey) -> bool {
    FRAGMENTS.get_ptr(key).is_some()
}

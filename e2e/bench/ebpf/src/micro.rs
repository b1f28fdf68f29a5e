//! The cost of maps and helpers: each run executes one operation sixteen times.

use core::arch::asm;

use aya_ebpf::{
    bindings::xdp_action::XDP_DROP,
    helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_xdp_adjust_meta},
    macros::{map, xdp},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    programs::XdpContext,
};

use crate::ceilings::DEVICES;

/// Operations of one run; there are several because the kernel reports whole nanoseconds.
const TIMES: u32 = 16;
/// Entries of every map.
const ENTRIES: u32 = 1 << 17;

/// Number of entries in use, and state of the random numbers.
#[map]
static DRAW: Array<[u64; 2]> = Array::with_max_entries(1, 0);
#[map]
static M_ARRAY: Array<u64> = Array::with_max_entries(ENTRIES, 0);
#[map]
static M_PERCPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(ENTRIES / 4, 0);
#[map]
static M_HASH4: HashMap<u32, u64> = HashMap::with_max_entries(2 * ENTRIES, 0);
#[map]
static M_HASH16: HashMap<[u32; 4], u64> = HashMap::with_max_entries(2 * ENTRIES, 0);
#[map]
static M_LRU: LruHashMap<[u32; 4], u64> = LruHashMap::with_max_entries(2 * ENTRIES, 0);
#[map]
static M_LPM: LpmTrie<[u8; 4], u64> = LpmTrie::with_max_entries(2 * ENTRIES, 0);

/// Calls `work` with sixteen random keys.
#[inline(always)]
fn each(mut work: impl FnMut(u32) -> u64) -> u32 {
    let Some(draw) = DRAW.get_ptr_mut(0) else {
        return XDP_DROP;
    };
    // SAFETY: only one CPU runs these programs.
    let draw = unsafe { &mut *draw };
    let (entries, mut state, mut sum) = (draw[0], draw[1], 0_u64);
    for _ in 0..TIMES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let key = (((state >> 32) * entries) >> 32) as u32;
        sum = sum.wrapping_add(work(key));
    }
    // Uses the result, so that the compiler does not remove the operations.
    draw[1] = state ^ u64::from(sum == 1);
    XDP_DROP
}

#[xdp]
fn m_nothing(_: XdpContext) -> u32 {
    each(u64::from)
}

#[xdp]
fn m_array(_: XdpContext) -> u32 {
    each(|key| M_ARRAY.get(key).copied().unwrap_or(0))
}

#[xdp]
fn m_percpu(_: XdpContext) -> u32 {
    each(|key| M_PERCPU.get(key).copied().unwrap_or(0))
}

#[xdp]
fn m_hash4(_: XdpContext) -> u32 {
    // SAFETY: nothing is removed while a program runs.
    each(|key| unsafe { M_HASH4.get(key) }.copied().unwrap_or(0))
}

#[xdp]
fn m_hash16(_: XdpContext) -> u32 {
    // SAFETY: as above.
    each(|key| unsafe { M_HASH16.get([key, 1, 2, 3]) }.copied().unwrap_or(0))
}

#[xdp]
fn m_lru(_: XdpContext) -> u32 {
    // SAFETY: as above.
    each(|key| unsafe { M_LRU.get([key, 1, 2, 3]) }.copied().unwrap_or(0))
}

/// Keys are scattered over the address space, as the suite fills them.
#[xdp]
fn m_lpm(_: XdpContext) -> u32 {
    each(|key| {
        let key = Key::new(32, key.wrapping_mul(2_654_435_761).to_be_bytes());
        M_LPM.get(key).copied().unwrap_or(0)
    })
}

#[xdp]
fn m_counter(_: XdpContext) -> u32 {
    each(|key| {
        if let Some(count) = M_PERCPU.get_ptr_mut(key) {
            // SAFETY: the element belongs to this CPU.
            unsafe { *count = (*count).wrapping_add(1) };
        }
        u64::from(key)
    })
}

#[xdp]
fn m_atomic(_: XdpContext) -> u32 {
    each(|key| {
        if let Some(count) = M_ARRAY.get_ptr_mut(key) {
            // SAFETY: array elements are aligned and live as long as the map. (The compiler has no atomics
            // for this target.)
            unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) 1_u64) };
        }
        u64::from(key)
    })
}

#[xdp]
fn m_redirect(_: XdpContext) -> u32 {
    each(|key| u64::from(DEVICES.redirect(key & 255, 0).unwrap_or_else(|fallback| fallback)))
}

#[xdp]
fn m_metadata(ctx: XdpContext) -> u32 {
    // SAFETY: the context is the program's own.
    each(|_| unsafe { (bpf_xdp_adjust_meta(ctx.ctx, -16) + bpf_xdp_adjust_meta(ctx.ctx, 16)) as u64 })
}

#[xdp]
fn m_clock(_: XdpContext) -> u32 {
    // SAFETY: no arguments.
    each(|_| unsafe { bpf_ktime_get_ns() })
}

#[xdp]
fn m_coarse_clock(_: XdpContext) -> u32 {
    // SAFETY: no arguments.
    each(|_| unsafe { bpf_ktime_get_coarse_ns() })
}

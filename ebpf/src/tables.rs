//! The maps, under the names of [`xdp_core::tables::maps`], pinned by name.
#![expect(unsafe_code, reason = "map values are shared with user space and other CPUs")]

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMapHash, HashMap, PerCpuArray};
use xdp_core::tables::{
    Address, Block, Config, Count, EVENTS as EVENT_CODES, FailureKey, Label, MAX_ADDRESSES, MAX_BLOCKS,
    MAX_FAILURES, MAX_PROBLEMS, MAX_RULES, MAX_SLOTS, RuleCounters, SlotWord,
};
use xdp_core::verdict::Tables;

#[map]
static PODS: HashMap<Address, u32> = HashMap::pinned(MAX_ADDRESSES, 0);

/// Can be mapped into the agent: an update by system call copies bytes, a store through the mapping is one store.
#[map]
static SLOTS: Array<u64> = Array::pinned(MAX_SLOTS, BPF_F_MMAPABLE);

#[map]
static BLOCKS: Array<Block> = Array::pinned(MAX_BLOCKS, 0);

#[map]
pub(crate) static DEVICES: DevMapHash = DevMapHash::pinned(MAX_SLOTS, 0);

#[map]
pub(crate) static RULE_COUNTERS: PerCpuArray<RuleCounters> = PerCpuArray::pinned(MAX_RULES, 0);

#[map]
pub(crate) static DELIVERED: PerCpuArray<Count> = PerCpuArray::pinned(MAX_RULES, 0);

#[map]
pub(crate) static EVENTS: PerCpuArray<Count> = PerCpuArray::pinned(EVENT_CODES, 0);

#[map]
pub(crate) static FAILURES: HashMap<FailureKey, u64> = HashMap::pinned(MAX_FAILURES, 0);

#[map]
static CONFIG: Array<Config> = Array::pinned(1, 0);

#[map]
static RULE_LABELS: Array<Label> = Array::pinned(MAX_RULES, 0);

#[map]
static POD_LABELS: Array<Label> = Array::pinned(MAX_SLOTS, 0);

#[map]
static PROBLEMS: Array<Label> = Array::pinned(MAX_PROBLEMS, 0);

/// What the tracepoint programs must know.
#[inline(always)]
pub(crate) fn config() -> Option<Config> {
    CONFIG.get(0).copied()
}

/// The tables that the agent fills.
pub(crate) struct Kernel;

impl Tables for Kernel {
    #[inline(always)]
    fn slot(&self, destination: &Address) -> Option<u32> {
        let slot = PODS.get_ptr(destination)?;
        // SAFETY: the pointer is to a live or recycled element of the map, never to freed memory, and four aligned
        // bytes are read at once. The agent waits for running programs before it lets an element be recycled.
        Some(unsafe { slot.read_volatile() })
    }

    #[inline(always)]
    fn word(&self, slot: u32) -> Option<SlotWord> {
        let word = SLOTS.get_ptr(slot)?;
        // SAFETY: array elements live as long as the map. The agent flips the word while programs run, so it is read
        // exactly once, as eight aligned bytes.
        Some(SlotWord(unsafe { word.read_volatile() }))
    }

    #[inline(always)]
    fn alive(&self, slot: u32) -> bool {
        DEVICES.get_ifindex(slot).is_some()
    }

    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        BLOCKS.get(index)
    }
}

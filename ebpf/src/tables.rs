//! The maps, under the names of [`xdp_core::tables::maps`], pinned by name.
//!
//! The agent maps the tables that it writes most into its memory (`BPF_F_MMAPABLE`): an update is a store,
//! not a system call. A block is not written while a slot's word leads to it, so the programs read blocks
//! plainly. They read each word once, as eight aligned bytes.
#![expect(unsafe_code, reason = "map values are shared with user space and other CPUs")]

use core::{arch::asm, hint::assert_unchecked};

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray},
};
use xdp_core::{
    frames::{StationTables, Tags},
    tables::{
        ActionRecord, Address, Class, Config, Count, DEFAULT_FLOWS, EVENTS as EVENT_CODES,
        FLOW_SHARES as FLOW_SHARE_PLACES, FailureKey, FlowKey, FlowShare, FlowValue, FragmentKey,
        HEARD as HEARD_PLACES, INDEX as INDEX_PLACES, IndexWord, LIMIT_SETS, Label, LimitSet, MAX_ACTIONS,
        MAX_ADDRESSES, MAX_CLASSES, MAX_FAILURES, MAX_FRAGMENTS, MAX_LIMITS, MAX_NAMESPACES, MAX_NICS,
        MAX_POD_BLOCKS, MAX_PORT_BLOCKS, MAX_PROBLEMS, MAX_RULES, MAX_SLOTS, MAX_SOURCES_V4, MAX_SOURCES_V6,
        MAX_STATIONS, NicEntry, OPENED_SETS, OpenedSet, PodBlock, Ports, Receiver, RuleCounters, RuleText,
        SentPacket, SlotWord, Station, nic_position, recent_len, {self},
    },
    verdict::{
        Holder, RuleTables, {self},
    },
};

#[map]
static INDEX: Array<u64> = Array::pinned(INDEX_PLACES, BPF_F_MMAPABLE);

#[map]
static PODS: HashMap<Address, u32> = HashMap::pinned(MAX_ADDRESSES, 0);

#[map]
static SLOTS: Array<u64> = Array::pinned(MAX_SLOTS, BPF_F_MMAPABLE);

#[map]
static POD_BLOCKS: Array<PodBlock> = Array::pinned(MAX_POD_BLOCKS, BPF_F_MMAPABLE);

#[map]
static SOURCES_V4: Array<tables::SourcesV4> = Array::pinned(MAX_SOURCES_V4, BPF_F_MMAPABLE);

#[map]
static SOURCES_V6: Array<tables::SourcesV6> = Array::pinned(MAX_SOURCES_V6, BPF_F_MMAPABLE);

#[map]
static CLASSES: Array<Class> = Array::pinned(MAX_CLASSES, BPF_F_MMAPABLE);

#[map]
static PORT_BLOCKS: Array<Ports> = Array::pinned(MAX_PORT_BLOCKS, BPF_F_MMAPABLE);

#[map]
static ACTIONS: Array<ActionRecord> = Array::pinned(MAX_ACTIONS, BPF_F_MMAPABLE);

#[map]
pub(crate) static RULE_LIMITS: Array<u64> = Array::pinned(MAX_LIMITS, 0);

#[map]
pub(crate) static NAMESPACES: Array<u64> = Array::pinned(MAX_NAMESPACES, BPF_F_MMAPABLE);

#[map]
pub(crate) static SOURCE_LIMITS: Array<LimitSet> = Array::pinned(LIMIT_SETS, 0);

/// For XDP programs only: the kernel refuses other programs that use the same devmap (`bpf_check_tail_call`,
/// since Linux 5.17).
#[map]
pub(crate) static DEVICES: DevMap = DevMap::pinned(MAX_SLOTS, 0);

#[map]
pub(crate) static RULE_COUNTERS: PerCpuArray<RuleCounters> = PerCpuArray::pinned(MAX_RULES, 0);

#[map]
pub(crate) static DELIVERED: PerCpuArray<Count> = PerCpuArray::pinned(MAX_RULES, 0);

#[map]
pub(crate) static EVENTS: PerCpuArray<Count> = PerCpuArray::pinned(EVENT_CODES, 0);

#[map]
pub(crate) static FAILURES: HashMap<FailureKey, u64> = HashMap::pinned(MAX_FAILURES, 0);

#[map]
pub(crate) static ESTABLISHED: HashMap<FlowKey, FlowValue> = HashMap::pinned(DEFAULT_FLOWS, 0);

#[map]
pub(crate) static UNREPLIED: LruHashMap<FlowKey, FlowValue> = LruHashMap::pinned(DEFAULT_FLOWS, 0);

#[map]
pub(crate) static FLOW_SHARES: Array<FlowShare> = Array::pinned(FLOW_SHARE_PLACES, BPF_F_MMAPABLE);

#[map]
pub(crate) static STACK: LruHashMap<FlowKey, u64> = LruHashMap::pinned(DEFAULT_FLOWS, 0);

#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, u64> = LruHashMap::pinned(MAX_FRAGMENTS, 0);

#[map]
pub(crate) static RECENT: Array<u64> = Array::pinned(recent_len(DEFAULT_FLOWS), 0);

#[map]
pub(crate) static OPENED: Array<OpenedSet> = Array::pinned(OPENED_SETS, 0);

#[map]
pub(crate) static OPENED_TAGS: Array<u64> = Array::pinned(OPENED_SETS / 2, 0);

#[map]
pub(crate) static HEARD: Array<u64> = Array::pinned(HEARD_PLACES, 0);

#[map]
pub(crate) static SENT: PerCpuArray<SentPacket> = PerCpuArray::pinned(1, 0);

#[map]
static NICS: Array<NicEntry> = Array::pinned(MAX_NICS, BPF_F_MMAPABLE);

#[map]
static STATIONS: HashMap<Station, Receiver> = HashMap::pinned(MAX_STATIONS, 0);

#[map]
static CONFIG: Array<Config> = Array::pinned(1, 0);

#[map]
static RULE_LABELS: Array<RuleText> = Array::pinned(MAX_RULES, BPF_F_MMAPABLE);

#[map]
static POD_LABELS: Array<Label> = Array::pinned(MAX_SLOTS, 0);

#[map]
static PROBLEMS: Array<Label> = Array::pinned(MAX_PROBLEMS, 0);

/// Returns what the programs need to know about the node.
#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// The maps of rules, which the agent fills.
pub(crate) struct RuleMaps;

/// The agent writes an element while programs run. Each of its words is written at once: a program may
/// combine an old word with a new one for one packet, which then passes.
impl StationTables for RuleMaps {
    #[inline(always)]
    fn nic(&self, ifindex: u32) -> Option<&NicEntry> {
        NICS.get(nic_position(ifindex))
            .filter(|nic| nic.ifindex == ifindex)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the kernel aligns the elements of maps to eight bytes"
    )]
    fn station(&self, station: &Station) -> Option<Receiver> {
        let receiver = STATIONS.get_ptr(station)?.cast::<u64>();
        // SAFETY: the pointer is to a live or recycled element of the map, never to freed memory. A receiver
        // consists of two numbers, which are read at once.
        let [device, flags] = unsafe { core::mem::transmute::<u64, [u32; 2]>(receiver.read_volatile()) };
        Some(Receiver { device, flags })
    }

    #[inline(always)]
    fn may_be_dropped(&self, tags: Tags) -> bool {
        may_be_dropped(tags.mac, tags.nic, tags.outer, tags.third) != 0
    }
}

/// A global function, which the verifier checks once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn may_be_dropped(mac: u64, nic: u32, outer: u64, third: u32) -> u32 {
    let tags = Tags {
        mac,
        nic,
        outer,
        third,
    };
    u32::from(tags.may_be_dropped(&RuleMaps))
}

/// Whether packets that the stack routes to an interface leave the node.
#[inline(always)]
pub(crate) fn is_outlet(ifindex: u32) -> bool {
    RuleMaps.station(&Station::outlet(ifindex)).is_some()
}

/// Looks up whether the pod with this address is behind an interface of the host.
#[inline(always)]
pub(crate) fn holder(address: &Address, interface: u32) -> Holder {
    Holder::from_number(find_holder(address.high, address.low, interface))
}

/// A global function, which the verifier checks once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_holder(high: u64, low: u64, interface: u32) -> u32 {
    verdict::holder(&Address { high, low }, interface, &RuleMaps) as u32
}

impl RuleTables for RuleMaps {
    #[inline(always)]
    fn index(&self, position: u32) -> Option<IndexWord> {
        let word = INDEX.get_ptr(position)?;
        // SAFETY: array elements live as long as the map. The agent changes the word while programs run, so
        // it is read exactly once, as eight aligned bytes.
        Some(IndexWord(unsafe { word.read_volatile() }))
    }

    #[inline(always)]
    fn slot(&self, destination: &Address) -> Option<u32> {
        let slot = PODS.get_ptr(destination)?;
        // SAFETY: the pointer is to a live or recycled element of the map, never to freed memory, and four
        // aligned bytes are read at once. The agent waits for running programs before it lets an
        // element be recycled.
        Some(unsafe { slot.read_volatile() })
    }

    #[inline(always)]
    fn word(&self, slot: u32) -> Option<SlotWord> {
        let word = SLOTS.get_ptr(slot)?;
        // SAFETY: as for the index.
        Some(SlotWord(unsafe { word.read_volatile() }))
    }

    #[inline(always)]
    fn alive(&self, slot: u32) -> bool {
        DEVICES.get_ifindex(slot).is_some()
    }

    #[inline(always)]
    fn pod(&self, index: u32) -> Option<&PodBlock> {
        POD_BLOCKS.get(index)
    }

    #[inline(always)]
    fn sources_v4(&self, index: u32) -> Option<&tables::SourcesV4> {
        SOURCES_V4.get(index)
    }

    #[inline(always)]
    fn sources_v6(&self, index: u32) -> Option<&tables::SourcesV6> {
        SOURCES_V6.get(index)
    }

    #[inline(always)]
    fn class(&self, index: u32) -> Option<&Class> {
        CLASSES.get(index)
    }

    #[inline(always)]
    fn ports(&self, index: u32) -> Option<&Ports> {
        PORT_BLOCKS.get(index)
    }

    #[inline(always)]
    fn action(&self, number: u16) -> Option<&ActionRecord> {
        ACTIONS.get(u32::from(number))
    }

    #[inline(always)]
    fn opaque(&self, mut value: u64) -> u64 {
        // SAFETY: a move to itself. (An empty template would give two source lines to one instruction, which
        // the kernel refuses.)
        unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
        value
    }

    #[inline(always)]
    fn join(&self, a: (u64, u64), b: (u64, u64)) -> u64 {
        let (mut sum, more) = (a.0 & a.1, b.0 & b.1);
        // SAFETY: an addition. The compiler would make a union of it.
        unsafe {
            asm!("{0} += {1}", inout(reg) sum, in(reg) more, options(pure, nomem, nostack, preserves_flags));
        }
        // SAFETY: numbers whose bits are in these masks, which have none in common, so nothing is carried.
        unsafe { assert_unchecked(a.1 & b.1 != 0 || sum & !(a.1 | b.1) == 0) };
        sum
    }
}

/// Reads a word of an array, or zero if the element does not exist.
#[inline(always)]
pub(crate) fn read(map: &Array<u64>, index: u32) -> u64 {
    map.get_ptr(index).map_or(0, |word| {
        // SAFETY: elements of arrays live as long as the map; aligned, so read at once.
        unsafe { word.read_volatile() }
    })
}

/// Overwrites a word of an array.
#[inline(always)]
pub(crate) fn write(map: &Array<u64>, index: u32, word: u64) {
    if let Some(element) = map.get_ptr_mut(index) {
        // SAFETY: as above, and written at once.
        unsafe { element.write_volatile(word) };
    }
}

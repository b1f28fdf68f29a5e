//! The maps of flows, which the programs fill.
#![expect(unsafe_code, reason = "map values are shared with other CPUs")]

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns, macros::map, maps::PerCpuArray};
use xdp_core::{
    events::FlowEvent,
    flows::{
        FlowMap, FlowPacket, FlowShareWord, FlowStore, Opening, {self},
    },
    key::{PacketKey, Scratch},
    tables::{Config, FlowKey, FlowValue},
};

use crate::{
    counters,
    tables::{ESTABLISHED, FLOW_SHARES, RECENT, STACK, UNREPLIED, config, read, write},
};

/// The context in which a program runs: each has memory of its own.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Context {
    /// On a NIC, in softirq: programs of one CPU do not interrupt each other.
    Nic = 0,
    /// In a process (`BPF_PROG_TEST_RUN`), which programs on NICs may interrupt.
    Process = 1,
}

/// The key of the packet that this CPU handles, by [`Context`].
#[map]
static PACKET_KEY: PerCpuArray<PacketKey> = PerCpuArray::with_max_entries(2, 0);

/// Returns the memory for a packet's key.
#[inline(always)]
pub(crate) fn scratch(context: Context) -> Option<&'static mut Scratch> {
    let scratch: *mut Scratch = PACKET_KEY.get_ptr_mut(context as u32)?.cast();
    // SAFETY: the element belongs to this CPU and to one program at a time, and lives as long as the map.
    Some(unsafe { &mut *scratch })
}

/// Returns the key of the packet of a [`Context`].
#[inline(always)]
pub(crate) fn key(context: u32) -> Option<&'static PacketKey> {
    // SAFETY: as above. Maps are initially zero, which is a valid key.
    PACKET_KEY.get_ptr(context).map(|key| unsafe { &*key })
}

/// The flow of the packet that this CPU handles. Programs of one CPU do not interrupt each other.
#[map]
static FLOW_PACKET: PerCpuArray<FlowPacket> = PerCpuArray::with_max_entries(1, 0);

/// Stores a flow packet in a map. That saves stack, and the verifier follows the rest of the program only
/// once, not for each kind of packet.
#[inline(always)]
pub(crate) fn store(packet: FlowPacket) -> Option<&'static FlowPacket> {
    let mut at = FLOW_PACKET.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, and lives as long as the map.
    unsafe { at.write(packet) };
    // SAFETY: a move to itself. The compiler must assume that the value was changed.
    unsafe { asm!("{0} = {0}", inout(reg) at) };
    // SAFETY: as above; it was just written.
    Some(unsafe { &*at })
}

/// Returns what this CPU stored last.
#[inline(always)]
pub(crate) fn stored() -> Option<&'static FlowPacket> {
    // SAFETY: as above: only [`store`] writes there.
    FLOW_PACKET.get_ptr(0).map(|at| unsafe { &*at })
}

/// Nanoseconds in a window of [`FlowStore::window`], as a power of two: about a second.
const WINDOW_SHIFT: u32 = 30;
const NO_EXIST: u64 = BPF_NOEXIST as u64;

/// The maps of flows, for one packet.
pub(crate) struct FlowMaps {
    pub(crate) config: &'static Config,
    bytes: u64,
}

impl FlowMaps {
    /// Returns the maps for a packet of this length: events count its bytes.
    #[inline(always)]
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let config = config()?;
        Some(Self { config, bytes })
    }
}

impl FlowStore for FlowMaps {
    #[inline(always)]
    fn recent_mask(&self) -> u32 {
        self.config.recent_mask
    }

    #[inline(always)]
    fn recent(&self, index: u32) -> u64 {
        read(&RECENT, index)
    }

    #[inline(always)]
    fn set_recent(&self, index: u32, word: u64) {
        write(&RECENT, index, word);
    }

    #[inline(always)]
    fn window(&self) -> u32 {
        // SAFETY: the helper has no arguments.
        (unsafe { bpf_ktime_get_ns() } >> WINDOW_SHIFT) as u32 & !FlowValue::ANSWERED
    }

    #[inline(always)]
    fn flow(&self, map: FlowMap, key: &FlowKey) -> Option<FlowValue> {
        let flow: *const u64 = match map {
            FlowMap::Established => ESTABLISHED.get_ptr(key)?.cast(),
            FlowMap::Unreplied => UNREPLIED.get_ptr(key)?.cast(),
            FlowMap::Stack => return STACK.get_ptr(key).map(|_| FlowValue::default()),
        };
        // SAFETY: the pointer is to a live or recycled element, never to freed memory, and aligned. A value
        // consists of two numbers, which are read at once. If the element is recycled meanwhile, they are
        // those of another flow: one entry is counted for another pod until the agent counts again.
        let [slot, state] = unsafe { core::mem::transmute::<u64, [u32; 2]>(flow.read_volatile()) };
        Some(FlowValue { slot, state })
    }

    #[inline(always)]
    fn set_state(&self, map: FlowMap, key: &FlowKey, state: u32) {
        let flow = match map {
            FlowMap::Established => ESTABLISHED.get_ptr_mut(key),
            FlowMap::Unreplied => UNREPLIED.get_ptr_mut(key),
            FlowMap::Stack => None,
        };
        if let Some(flow) = flow {
            // SAFETY: as above, and written at once. If the element is recycled meanwhile, another flow looks
            // answered, or in use.
            unsafe { (&raw mut (*flow).state).write_volatile(state) };
        }
    }

    #[inline(always)]
    fn insert(&self, map: FlowMap, key: &FlowKey, flow: FlowValue) -> bool {
        match map {
            FlowMap::Established => ESTABLISHED.insert(key, flow, NO_EXIST),
            FlowMap::Unreplied => UNREPLIED.insert(key, flow, NO_EXIST),
            FlowMap::Stack => STACK.insert(key, 0, NO_EXIST),
        }
        .is_ok()
    }

    #[inline(always)]
    fn delete(&self, map: FlowMap, key: &FlowKey) -> bool {
        match map {
            FlowMap::Established => ESTABLISHED.remove(key),
            FlowMap::Unreplied => UNREPLIED.remove(key),
            FlowMap::Stack => STACK.remove(key),
        }
        .is_ok()
    }

    #[inline(always)]
    fn share(&self, index: u32, word: FlowShareWord) -> u64 {
        share(index, word).map_or(0, |word| {
            // SAFETY: elements of arrays live as long as the map; aligned, so read at once.
            unsafe { word.read_volatile() }
        })
    }

    #[inline(always)]
    fn set_share(&self, index: u32, word: FlowShareWord, value: u64) {
        if let Some(word) = share(index, word) {
            // SAFETY: as above, and written at once.
            unsafe { word.write_volatile(value) };
        }
    }

    #[inline(always)]
    fn add_to_share(&self, index: u32, word: FlowShareWord, more: u64) {
        if let Some(word) = share(index, word) {
            // SAFETY: as above. In assembly, because Rust has no atomic addition for this target.
            unsafe {
                asm!("lock *(u64 *)({word} + 0) += {more}", word = in(reg) word, more = in(reg) more, options(nostack));
            }
        }
    }

    /// The flow is that of the packet that was stored last.
    #[inline(always)]
    fn open(&self, _: &FlowKey, slot: u32) -> Opening {
        Opening::from_number(open_flow(slot))
    }

    /// The flow is that of the packet that was stored last.
    #[inline(always)]
    fn establish(&self, _: &FlowKey, flow: FlowValue) -> bool {
        establish_flow(flow.slot, flow.state) != 0
    }

    #[inline(always)]
    fn count(&self, event: FlowEvent) {
        counters::event(event.code(), self.bytes);
    }
}

/// Returns a word of a share.
#[inline(always)]
fn share(index: u32, word: FlowShareWord) -> Option<*mut u64> {
    let words = FLOW_SHARES.get_ptr_mut(index)?.cast::<u64>();
    // SAFETY: within the element.
    Some(unsafe { words.add(word as usize) })
}

/// Opens the flow of the packet that was stored last. A global function, which the verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_flow(slot: u32) -> u32 {
    let (Some(packet), Some(maps)) = (stored(), FlowMaps::new(0)) else {
        return Opening::Failed as u32;
    };
    flows::open(&packet.key, slot, &maps) as u32
}

/// Establishes the flow of the packet that was stored last. Also a global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn establish_flow(slot: u32, state: u32) -> u32 {
    let (Some(packet), Some(maps)) = (stored(), FlowMaps::new(0)) else {
        return 0;
    };
    u32::from(flows::establish(&packet.key, FlowValue { slot, state }, &maps))
}

//! The tables of flows, which programs fill.
#![expect(unsafe_code, reason = "map values are shared with other CPUs")]

use core::arch::asm;

use aya_ebpf::{
    helpers::bpf_jiffies64,
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use xdp_core::{
    events::FlowEvent,
    flows::{FlowMap, FlowPacket, FlowStore},
    key::{PacketKey, Scratch},
    tables::{Config, FlowKey, FlowValue, FragmentKey},
};

use crate::{
    counters,
    tables::{ESTABLISHED, FRAGMENTS, RECENT, STACK, UNREPLIED, config},
};

/// Whose packet a program looks at.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Context {
    /// A NIC's: programs of one CPU do not interrupt each other there.
    Nic = 0,
    /// A process's, which may be interrupted by the others.
    Process = 1,
}

/// The packet that a CPU looks at, by [`Context`].
#[map]
static KEY: PerCpuArray<PacketKey> = PerCpuArray::with_max_entries(2, 0);

/// Where a packet's key is kept.
#[inline(always)]
pub(crate) fn room(asker: Context) -> Option<&'static mut Scratch> {
    let room: *mut Scratch = KEY.get_ptr_mut(asker as u32)?.cast();
    // SAFETY: the element belongs to this CPU and to one program at a time, and lives as long as the map.
    Some(unsafe { &mut *room })
}

/// The key that was left for a NIC's packet.
#[inline(always)]
pub(crate) fn key() -> Option<&'static PacketKey> {
    // SAFETY: as above; maps begin as zeroes, which are a key.
    KEY.get_ptr(Context::Nic as u32).map(|key| unsafe { &*key })
}

/// The subject of the packet that a CPU looks at. Programs of one CPU do not interrupt each other.
#[map]
static SUBJECT: PerCpuArray<FlowPacket> = PerCpuArray::with_max_entries(1, 0);

/// The same subject, in a map: that leaves room on the stack, and the verifier does not follow what comes after once for every
/// shape of packet.
#[inline(always)]
pub(crate) fn settled(subject: FlowPacket) -> Option<&'static FlowPacket> {
    let mut at = SUBJECT.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, and lives as long as the map.
    unsafe { at.write(subject) };
    // SAFETY: a move to itself. Without further options, the compiler must believe that the value was changed.
    unsafe { asm!("{0} = {0}", inout(reg) at) };
    // SAFETY: as above; it was just written.
    Some(unsafe { &*at })
}

/// What was settled last on this CPU.
#[inline(always)]
pub(crate) fn found() -> Option<&'static FlowPacket> {
    // SAFETY: as above: only [`settled`] writes there.
    SUBJECT.get_ptr(0).map(|at| unsafe { &*at })
}

/// An epoch has so many ticks of the kernel's clock, as a power of two: 4 s to 41 s. Reading that clock is one load.
const EPOCH_SHIFT: u32 = 12;

/// The maps, while a packet is looked at.
pub(crate) struct FlowMaps {
    config: &'static Config,
    bytes: u64,
}

impl FlowMaps {
    /// For a packet of so many bytes.
    #[inline(always)]
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let config = config()?;
        Some(Self { config, bytes })
    }
}

impl FlowStore for FlowMaps {
    #[inline(always)]
    fn seed(&self) -> u64 {
        self.config.seed
    }

    #[inline(always)]
    fn recent_mask(&self) -> u32 {
        self.config.recent_mask
    }

    #[inline(always)]
    fn epoch(&self) -> u64 {
        // SAFETY: without arguments.
        unsafe { bpf_jiffies64() >> EPOCH_SHIFT }
    }

    #[inline(always)]
    fn recent(&self, place: u32) -> u64 {
        RECENT.get_ptr(place).map_or(0, |word| {
            // SAFETY: elements of arrays live as long as the map; aligned, so read at once.
            unsafe { word.read_volatile() }
        })
    }

    #[inline(always)]
    fn set_recent(&self, place: u32, word: u64) {
        if let Some(element) = RECENT.get_ptr_mut(place) {
            // SAFETY: as above, and written at once.
            unsafe { element.write_volatile(word) };
        }
    }

    #[inline(always)]
    fn slot(&self, table: FlowMap, key: &FlowKey) -> Option<u32> {
        match table {
            FlowMap::Established => slot(&ESTABLISHED, key),
            FlowMap::Unreplied => slot(&UNREPLIED, key),
            FlowMap::Stack => STACK.get_ptr(key).map(|_| 0),
        }
    }

    #[inline(always)]
    fn insert(&self, table: FlowMap, key: &FlowKey, slot: u32) -> bool {
        let flow = FlowValue { slot, reserved: 0 };
        match table {
            FlowMap::Established => ESTABLISHED.insert(key, flow, 0),
            FlowMap::Unreplied => UNREPLIED.insert(key, flow, 0),
            FlowMap::Stack => STACK.insert(key, 0, 0),
        }
        .is_ok()
    }

    #[inline(always)]
    fn delete(&self, table: FlowMap, key: &FlowKey) -> bool {
        match table {
            FlowMap::Established => ESTABLISHED.remove(key),
            FlowMap::Unreplied => UNREPLIED.remove(key),
            FlowMap::Stack => STACK.remove(key),
        }
        .is_ok()
    }

    #[inline(always)]
    fn count(&self, event: FlowEvent) {
        counters::event(event.code(), self.bytes);
    }
}

#[inline(always)]
fn slot(map: &LruHashMap<FlowKey, FlowValue>, key: &FlowKey) -> Option<u32> {
    let flow = map.get_ptr(key)?;
    // SAFETY: the pointer is to a live or recycled element, never to freed memory. With one that is recycled meanwhile, the
    // slot of another flow is noted for this one, which only lists show.
    Some(unsafe { (*flow).slot })
}

/// Remembers a packet in fragments.
#[inline(always)]
pub(crate) fn note_fragments(key: &FragmentKey) {
    // Without room, the fragments but the first take the way through the stack.
    let _ = FRAGMENTS.insert(key, 0, 0);
}

/// Whether its first fragment was noted.
#[inline(always)]
pub(crate) fn knows_fragments(key: &FragmentKey) -> bool {
    FRAGMENTS.get_ptr(key).is_some()
}

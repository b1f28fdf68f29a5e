//! The maps of flows, which the programs fill.
#![expect(unsafe_code, reason = "map values are shared with other CPUs")]

use core::arch::asm;

use aya_ebpf::{
    helpers::bpf_jiffies64,
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray},
};
use xdp_core::{
    events::FlowEvent,
    flows::{
        EPOCH_SHIFT, FlowMap, FlowPacket, FlowStore, OpenedStore, {self},
    },
    key::{PacketKey, Scratch},
    tables::{Config, FlowKey, FlowValue, OPENED_WAYS, SentPacket},
};

use crate::{
    counters, fragments,
    opaque::opaque,
    tables::{ESTABLISHED, HEARD, OPENED, OPENED_TAGS, RECENT, SENT, STACK, UNREPLIED, config},
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

/// The maps of flows, for one packet.
pub(crate) struct FlowMaps {
    config: &'static Config,
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

impl OpenedStore for FlowMaps {
    #[inline(always)]
    fn seed(&self) -> u64 {
        self.config.seed
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        opaque(value, self.config.seed)
    }

    #[inline(always)]
    fn epoch(&self) -> u64 {
        // SAFETY: the helper has no arguments.
        unsafe { bpf_jiffies64() >> EPOCH_SHIFT }
    }

    #[inline(always)]
    fn opened(&self, set: u32) -> Option<[u64; OPENED_WAYS]> {
        let words = OPENED.get_ptr(set)?.cast::<u64>();
        // SAFETY: elements of arrays live as long as the map; each word is aligned, so read at once.
        Some([0, 1, 2, 3].map(|way| unsafe { words.add(way).read_volatile() }))
    }

    #[inline(always)]
    fn set_opened(&self, set: u32, way: u32, word: u64) {
        if let Some(words) = OPENED.get_ptr_mut(set) {
            let way = opaque(u64::from(way), 0) as usize & (OPENED_WAYS - 1);
            // SAFETY: as above, within the element, and written at once.
            unsafe { words.cast::<u64>().add(way).write_volatile(word) };
        }
    }

    #[inline(always)]
    fn opened_tags(&self, index: u32) -> u64 {
        read(&OPENED_TAGS, index)
    }

    #[inline(always)]
    fn set_opened_tag(&self, index: u32, byte: u32, tag: u8) {
        if let Some(tags) = OPENED_TAGS.get_ptr_mut(index) {
            let byte = opaque(u64::from(byte), 0) as usize & (size_of::<u64>() - 1);
            // SAFETY: as above, within the element; a byte is written at once.
            unsafe { tags.cast::<u8>().add(byte).write_volatile(tag) };
        }
    }

    #[inline(always)]
    fn heard(&self, index: u32) -> u64 {
        read(&HEARD, index)
    }

    #[inline(always)]
    fn set_heard(&self, index: u32, word: u64) {
        write(&HEARD, index, word);
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
    fn slot(&self, map: FlowMap, key: &FlowKey) -> Option<u32> {
        match map {
            FlowMap::Established => slot(&ESTABLISHED, key),
            FlowMap::Unreplied => slot(&UNREPLIED, key),
            FlowMap::Stack => STACK.get_ptr(key).map(|_| 0),
        }
    }

    #[inline(always)]
    fn insert(&self, map: FlowMap, key: &FlowKey, slot: u32) -> bool {
        let flow = FlowValue { slot, reserved: 0 };
        match map {
            FlowMap::Established => ESTABLISHED.insert(key, flow, 0),
            FlowMap::Unreplied => UNREPLIED.insert(key, flow, 0),
            FlowMap::Stack => STACK.insert(key, 0, 0),
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
    fn count(&self, event: FlowEvent) {
        counters::event(event.code(), self.bytes);
    }
}

#[inline(always)]
fn read(map: &Array<u64>, index: u32) -> u64 {
    map.get_ptr(index).map_or(0, |word| {
        // SAFETY: elements of arrays live as long as the map; aligned, so read at once.
        unsafe { word.read_volatile() }
    })
}

#[inline(always)]
fn write(map: &Array<u64>, index: u32, word: u64) {
    if let Some(element) = map.get_ptr_mut(index) {
        // SAFETY: as above, and written at once.
        unsafe { element.write_volatile(word) };
    }
}

#[inline(always)]
fn slot(map: &LruHashMap<FlowKey, FlowValue>, key: &FlowKey) -> Option<u32> {
    let flow = map.get_ptr(key)?;
    // SAFETY: the pointer is to a live or recycled element, never to freed memory. If the element is recycled
    // meanwhile, this flow gets the slot of another flow, which only lists of flows show.
    Some(unsafe { (*flow).slot })
}

/// Notes the connection of the packet that was stored last, if its pod opens it. A global function, which the
/// verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn note_opened() -> u32 {
    let (Some(packet), Some(maps)) = (stored(), FlowMaps::new(0)) else {
        return 0;
    };
    flows::note_sent(packet, &maps);
    1
}

/// Whether the packet that was stored last belongs to a connection that its pod opened. If so, its later
/// fragments do, too. Also a global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn is_opened() -> u32 {
    let (Some(packet), Some(maps)) = (stored(), FlowMaps::new(0)) else {
        return 0;
    };
    let is_opened = flows::is_opened_by_pod(packet, &maps);
    if is_opened
        && key(Context::Nic as u32).is_some_and(PacketKey::is_fragment)
        && let Some(fragments) = fragments::stored()
    {
        fragments::record(fragments);
    }
    u32::from(is_opened)
}

/// Records a packet that a pod sends, through the stack or past it.
#[inline(always)]
pub(crate) fn record_sent(packet: SentPacket) {
    if let Some(sent) = SENT.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU, and lives as long as the map.
        unsafe { sent.write(packet) };
    }
}

/// Whether this CPU recorded the packet just now.
#[inline(always)]
pub(crate) fn is_sent(packet: &SentPacket) -> bool {
    // SAFETY: as above. Maps are initially zero, which is a valid value.
    let sent = SENT.get_ptr(0).map(|sent| unsafe { &*sent });
    sent.is_some_and(|sent| sent.is(packet))
}

/// Returns what is recorded of a packet.
#[inline(always)]
pub(crate) fn sent_packet(flow: &FlowKey, ip_len: u32) -> SentPacket {
    SentPacket::new(flow, ip_len, tick())
}

#[inline(always)]
fn tick() -> u32 {
    // SAFETY: the helper has no arguments.
    (unsafe { bpf_jiffies64() }) as u32
}

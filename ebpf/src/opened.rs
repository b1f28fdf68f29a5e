//! The maps of connections that pods open.
#![expect(unsafe_code, reason = "map values are shared with other CPUs")]

use aya_ebpf::helpers::bpf_jiffies64;
use xdp_core::{
    flows::{
        EPOCH_SHIFT, OpenedStore, {self},
    },
    key::PacketKey,
    tables::OPENED_WAYS,
};

use crate::{
    flows::{Context, FlowMaps, key, stored},
    fragments,
    opaque::opaque,
    tables::{HEARD, OPENED, OPENED_TAGS, read, write},
};

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

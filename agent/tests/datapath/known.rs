//! Tables of flows in memory, to compare with the kernel's: without evictions, and without the cache.

use std::{cell::RefCell, collections::BTreeMap};

use xdp_core::{
    events::FlowEvent,
    flows::{FlowMap, FlowStore, OpenedStore},
    tables::{FlowKey, OPENED_WAYS},
};

#[derive(Default)]
pub(crate) struct Known {
    entries: RefCell<BTreeMap<(FlowMap, FlowKey), u32>>,
    counted: RefCell<Vec<FlowEvent>>,
}

impl Known {
    /// Returns the events counted since the last call.
    pub(crate) fn take_counted(&self) -> Vec<FlowEvent> {
        self.counted.take()
    }
}

impl OpenedStore for Known {
    fn seed(&self) -> u64 {
        0
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn opened(&self, _: u32) -> Option<[u64; OPENED_WAYS]> {
        None
    }

    fn set_opened(&self, _: u32, _: u32, _: u64) {}

    fn opened_tags(&self, _: u32) -> u64 {
        0
    }

    fn set_opened_tag(&self, _: u32, _: u32, _: u8) {}

    fn heard(&self, _: u32) -> u64 {
        0
    }

    fn set_heard(&self, _: u32, _: u64) {}
}

impl FlowStore for Known {
    fn recent_mask(&self) -> u32 {
        0
    }

    fn recent(&self, _: u32) -> u64 {
        0
    }

    fn set_recent(&self, _: u32, _: u64) {}

    fn slot(&self, map: FlowMap, key: &FlowKey) -> Option<u32> {
        self.entries.borrow().get(&(map, *key)).copied()
    }

    fn insert(&self, map: FlowMap, key: &FlowKey, slot: u32) -> bool {
        self.entries.borrow_mut().insert((map, *key), slot);
        true
    }

    fn delete(&self, map: FlowMap, key: &FlowKey) -> bool {
        self.entries.borrow_mut().remove(&(map, *key)).is_some()
    }

    fn count(&self, event: FlowEvent) {
        self.counted.borrow_mut().push(event);
    }
}

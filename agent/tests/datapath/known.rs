//! Tables of flows in memory, to compare with the kernel's: without evictions, and without the cache.

use std::{cell::RefCell, collections::BTreeMap};

use xdp_core::{
    events::FlowEvent,
    flows::{FlowMap, FlowShareWord, FlowStore, OpenedStore},
    tables::{FlowKey, FlowValue, OPENED_WAYS},
};

#[derive(Default)]
pub(crate) struct Known {
    entries: RefCell<BTreeMap<(FlowMap, FlowKey), FlowValue>>,
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

    fn window(&self) -> u32 {
        0
    }

    fn flow(&self, map: FlowMap, key: &FlowKey) -> Option<FlowValue> {
        self.entries.borrow().get(&(map, *key)).copied()
    }

    fn set_state(&self, map: FlowMap, key: &FlowKey, state: u32) {
        if let Some(flow) = self.entries.borrow_mut().get_mut(&(map, *key)) {
            flow.state = state;
        }
    }

    fn insert(&self, map: FlowMap, key: &FlowKey, flow: FlowValue) -> bool {
        self.entries.borrow_mut().insert((map, *key), flow).is_none()
    }

    fn delete(&self, map: FlowMap, key: &FlowKey) -> bool {
        self.entries.borrow_mut().remove(&(map, *key)).is_some()
    }

    fn share(&self, _: u32, _: FlowShareWord) -> u64 {
        // So much that no limit is reached.
        u64::MAX >> 1
    }

    fn set_share(&self, _: u32, _: FlowShareWord, _: u64) {}

    fn add_to_share(&self, _: u32, _: FlowShareWord, _: u64) {}

    fn count(&self, event: FlowEvent) {
        self.counted.borrow_mut().push(event);
    }
}

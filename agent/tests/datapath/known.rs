//! The tables of flows as the host keeps them beside the kernel's: without their evictions, and without what only saves time.

use std::{cell::RefCell, collections::BTreeMap};

use xdp_core::{
    flows::{Flows, Table},
    tables::FlowKey,
    verdict::FlowEvent,
};

#[derive(Default)]
pub(crate) struct Known {
    entries: RefCell<BTreeMap<(Table, FlowKey), u32>>,
    noted: RefCell<Vec<FlowEvent>>,
}

impl Known {
    /// What was noted since the last time.
    pub(crate) fn noted(&self) -> Vec<FlowEvent> {
        self.noted.take()
    }
}

impl Flows for Known {
    fn seed(&self) -> u64 {
        0
    }

    fn recent_mask(&self) -> u32 {
        0
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn recent(&self, _: u32) -> u64 {
        0
    }

    fn set_recent(&self, _: u32, _: u64) {}

    fn slot(&self, table: Table, key: &FlowKey) -> Option<u32> {
        self.entries.borrow().get(&(table, *key)).copied()
    }

    fn insert(&self, table: Table, key: &FlowKey, slot: u32) -> bool {
        self.entries.borrow_mut().insert((table, *key), slot);
        true
    }

    fn delete(&self, table: Table, key: &FlowKey) -> bool {
        self.entries.borrow_mut().remove(&(table, *key)).is_some()
    }

    fn note(&self, event: FlowEvent) {
        self.noted.borrow_mut().push(event);
    }
}

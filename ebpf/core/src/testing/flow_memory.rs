//! Tables of flows in memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    vec,
    vec::Vec,
};

use crate::{
    events::FlowEvent,
    flows::{FlowMap, FlowStore, OpenedStore},
    tables::{FlowKey, OPENED_WAYS},
};

/// Elements of the cache: so few that flows share them.
const CACHE_LEN: u32 = 4;

/// Tables of flows in memory. No table evicts anything by itself.
#[derive(Debug)]
pub struct FlowMemory {
    tables: RefCell<BTreeMap<(FlowMap, FlowKey), u32>>,
    recent: RefCell<Vec<u64>>,
    opened: RefCell<BTreeMap<u32, [u64; OPENED_WAYS]>>,
    opened_tags: RefCell<BTreeMap<u32, u64>>,
    heard: RefCell<BTreeMap<u32, u64>>,
    /// Whether all connections share one set, and all datagrams another one.
    pub one_set: Cell<bool>,
    events: RefCell<Vec<FlowEvent>>,
    /// The present epoch.
    pub epoch: Cell<u64>,
    /// Whether insertions fail.
    pub full: Cell<bool>,
    /// How many elements were looked up.
    pub looked_up: Cell<u32>,
    /// Whether a pod's reply on another CPU moves unreplied flows just before a look-up.
    pub moving: Cell<bool>,
}

impl Default for FlowMemory {
    fn default() -> Self {
        Self {
            tables: RefCell::default(),
            recent: RefCell::new(vec![0; CACHE_LEN as usize]),
            opened: RefCell::default(),
            opened_tags: RefCell::default(),
            heard: RefCell::default(),
            one_set: Cell::new(false),
            events: RefCell::default(),
            epoch: Cell::new(1000),
            full: Cell::new(false),
            looked_up: Cell::new(0),
            moving: Cell::new(false),
        }
    }
}

impl FlowMemory {
    /// Lists the flows of a table, with their slots.
    pub fn table(&self, table: FlowMap) -> Vec<(FlowKey, u32)> {
        let tables = self.tables.borrow();
        let of_table = tables.iter().filter(|((of, _), _)| *of == table);
        of_table.map(|((_, key), slot)| (*key, *slot)).collect()
    }

    /// Returns how often an event was counted.
    pub fn counted(&self, event: FlowEvent) -> usize {
        self.events
            .borrow()
            .iter()
            .filter(|counted| **counted == event)
            .count()
    }

    /// Moves all flows to the established ones, as the replies of their pods do.
    pub fn establish_all(&self) {
        for (key, slot) in self.table(FlowMap::Unreplied) {
            let mut tables = self.tables.borrow_mut();
            tables.remove(&(FlowMap::Unreplied, key));
            tables.insert((FlowMap::Established, key), slot);
        }
    }

    /// Evicts all entries, as an LRU table does for other flows.
    pub fn evict(&self) {
        self.tables.borrow_mut().clear();
    }
}

impl OpenedStore for FlowMemory {
    fn seed(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }

    fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    fn opened(&self, set: u32) -> Option<[u64; OPENED_WAYS]> {
        let set = if self.one_set.get() { set & 1 } else { set };
        Some(self.opened.borrow().get(&set).copied().unwrap_or_default())
    }

    fn set_opened(&self, set: u32, way: u32, word: u64) {
        let set = if self.one_set.get() { set & 1 } else { set };
        self.opened.borrow_mut().entry(set).or_default()[way as usize] = word;
    }

    fn opened_tags(&self, index: u32) -> u64 {
        let index = if self.one_set.get() { 0 } else { index };
        self.opened_tags.borrow().get(&index).copied().unwrap_or(0)
    }

    fn set_opened_tag(&self, index: u32, byte: u32, tag: u8) {
        let index = if self.one_set.get() { 0 } else { index };
        let mut tags = self.opened_tags.borrow_mut();
        let word = tags.entry(index).or_default();
        *word = *word & !(0xff << (8 * byte)) | u64::from(tag) << (8 * byte);
    }

    fn heard(&self, index: u32) -> u64 {
        self.heard.borrow().get(&index).copied().unwrap_or(0)
    }

    fn set_heard(&self, index: u32, word: u64) {
        self.heard.borrow_mut().insert(index, word);
    }
}

impl FlowStore for FlowMemory {
    fn recent_mask(&self) -> u32 {
        CACHE_LEN - 1
    }

    fn recent(&self, index: u32) -> u64 {
        self.recent.borrow()[index as usize]
    }

    fn set_recent(&self, index: u32, word: u64) {
        self.recent.borrow_mut()[index as usize] = word;
    }

    fn slot(&self, table: FlowMap, key: &FlowKey) -> Option<u32> {
        self.looked_up.set(self.looked_up.get() + 1);
        if table == FlowMap::Unreplied && self.moving.get() {
            self.establish_all();
        }
        self.tables.borrow().get(&(table, *key)).copied()
    }

    fn insert(&self, table: FlowMap, key: &FlowKey, slot: u32) -> bool {
        if !self.full.get() {
            self.tables.borrow_mut().insert((table, *key), slot);
        }
        !self.full.get()
    }

    fn delete(&self, table: FlowMap, key: &FlowKey) -> bool {
        self.tables.borrow_mut().remove(&(table, *key)).is_some()
    }

    fn count(&self, event: FlowEvent) {
        self.events.borrow_mut().push(event);
    }
}

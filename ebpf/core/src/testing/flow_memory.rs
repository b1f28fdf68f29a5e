//! Tables of flows in memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    vec,
    vec::Vec,
};

use crate::{
    events::FlowEvent,
    flows::{FlowMap, FlowShareWord, FlowStore, OpenedStore},
    tables::{FlowKey, FlowLimits, FlowShare, FlowValue, OPENED_WAYS},
};

/// Elements of the cache: so few that flows share them.
const CACHE_LEN: u32 = 4;

/// Tables of flows in memory. No table evicts anything by itself.
#[derive(Debug)]
pub struct FlowMemory {
    tables: RefCell<BTreeMap<(FlowMap, FlowKey), FlowValue>>,
    shares: RefCell<BTreeMap<(u32, FlowShareWord), u64>>,
    /// The limits of every share.
    pub limits: Cell<FlowLimits>,
    /// The present window.
    pub window: Cell<u32>,
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
            shares: RefCell::default(),
            limits: Cell::new(FlowLimits {
                until: i32::MAX as u32,
                opens: u32::MAX,
            }),
            window: Cell::new(100),
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
        of_table.map(|((_, key), flow)| (*key, flow.slot)).collect()
    }

    /// Returns the value of an entry.
    pub fn value(&self, table: FlowMap, key: &FlowKey) -> Option<FlowValue> {
        self.tables.borrow().get(&(table, *key)).copied()
    }

    /// Returns the share of a pod's flows of one protocol.
    pub fn share_of(&self, slot: u32, protocol: u32) -> FlowShare {
        let word = |word| self.share(FlowShare::index(slot, protocol), word);
        FlowShare {
            limits: word(FlowShareWord::Limits),
            established: word(FlowShareWord::Established),
            opened: word(FlowShareWord::Opened),
            refused: word(FlowShareWord::Refused),
        }
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
            tables.insert(
                (FlowMap::Established, key),
                FlowValue::new(slot, self.epoch.get() as u32),
            );
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

    fn window(&self) -> u32 {
        self.window.get()
    }

    fn flow(&self, table: FlowMap, key: &FlowKey) -> Option<FlowValue> {
        self.looked_up.set(self.looked_up.get() + 1);
        if table == FlowMap::Unreplied && self.moving.get() {
            self.establish_all();
        }
        self.tables.borrow().get(&(table, *key)).copied()
    }

    fn set_state(&self, table: FlowMap, key: &FlowKey, state: u32) {
        if let Some(flow) = self.tables.borrow_mut().get_mut(&(table, *key)) {
            flow.state = state;
        }
    }

    fn insert(&self, table: FlowMap, key: &FlowKey, flow: FlowValue) -> bool {
        let mut tables = self.tables.borrow_mut();
        let inserts = !self.full.get() && !tables.contains_key(&(table, *key));
        if inserts {
            tables.insert((table, *key), flow);
        }
        inserts
    }

    fn delete(&self, table: FlowMap, key: &FlowKey) -> bool {
        self.tables.borrow_mut().remove(&(table, *key)).is_some()
    }

    fn share(&self, index: u32, word: FlowShareWord) -> u64 {
        let shares = self.shares.borrow();
        let default = if word == FlowShareWord::Limits {
            self.limits.get().word()
        } else {
            0
        };
        shares.get(&(index, word)).copied().unwrap_or(default)
    }

    fn set_share(&self, index: u32, word: FlowShareWord, value: u64) {
        self.shares.borrow_mut().insert((index, word), value);
    }

    fn add_to_share(&self, index: u32, word: FlowShareWord, more: u64) {
        let mut shares = self.shares.borrow_mut();
        let value = shares.entry((index, word)).or_default();
        *value = value.wrapping_add(more);
    }

    fn count(&self, event: FlowEvent) {
        self.events.borrow_mut().push(event);
    }
}

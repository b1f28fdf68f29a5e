//! The flow tables: lists entries and purges stale ones.

pub(in crate::datapath) mod drain;
pub(in crate::datapath) mod migrate;
pub(in crate::datapath) mod preexisting;
pub(in crate::datapath) mod shares;

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::PerCpuValues;
use xdp_core::{
    events::FlowEvent,
    flows::{cache_index, hash},
    tables::{Address, Config, Count, FlowKey, maps},
};
use xdp_plan::owners::Owners;

use crate::datapath::{
    Datapath, Pinned,
    error::OpenError,
    kernel::{
        pins::Pins,
        plain::Plain,
        sys::{
            BatchCursor, Update, {self},
        },
    },
};

/// One of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowTable {
    /// Flows that both ends have confirmed.
    Established,
    /// Flows that are not confirmed yet, and those for which their pod has no room in the other table.
    Unreplied,
    /// Flows that the stack handles.
    Stack,
}

/// An element of a flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowEntry {
    /// The flow.
    pub key: FlowKey,
    /// The pod's slot when the flow began. Flows of the stack have none.
    pub slot: Option<u32>,
}

/// Key and value as the kernel holds them.
pub(super) type RawFlow = ([u8; size_of::<FlowKey>()], [u8; 8]);

/// Codes of [`maps::EVENTS`] under which the agent counts the elements that it deletes. No program writes
/// them.
const REMOVED: [(u32, [FlowTable; 2]); 2] = [
    (60, [FlowTable::Established, FlowTable::Unreplied]),
    (61, [FlowTable::Stack, FlowTable::Stack]),
];

const _: () = {
    let mut at = 0;
    while at < FlowEvent::ALL.len() {
        let code = FlowEvent::ALL[at].code();
        assert!(code != REMOVED[0].0 && code != REMOVED[1].0);
        at += 1;
    }
};

impl FlowTable {
    /// All tables.
    pub const ALL: [Self; 3] = [Self::Established, Self::Unreplied, Self::Stack];

    /// Returns the name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Unreplied => "unreplied",
            Self::Stack => "stack",
        }
    }

    pub(super) const fn map(self) -> &'static str {
        match self {
            Self::Established => maps::ESTABLISHED,
            Self::Unreplied => maps::UNREPLIED,
            Self::Stack => maps::STACK,
        }
    }

    /// Returns the event code under which deletions by the agent are counted.
    const fn removed(self) -> u32 {
        match self {
            Self::Established | Self::Unreplied => REMOVED[0].0,
            Self::Stack => REMOVED[1].0,
        }
    }

    pub(super) fn open(self, pins: &Pins) -> Result<OwnedFd, OpenError> {
        let path = pins.map(self.map());
        sys::open_pin(&path).map_err(|error| OpenError::pin("open", &path, error))
    }
}

/// Iterates over the elements of a flow table in batches of some thousands.
pub struct FlowBatches {
    table: FlowTable,
    map: OwnedFd,
    at: BatchCursor,
}

impl FlowBatches {
    fn next_batch(&mut self) -> io::Result<Option<Vec<RawFlow>>> {
        sys::batch(self.map.as_fd(), &mut self.at)
    }
}

impl Iterator for FlowBatches {
    type Item = Result<Vec<FlowEntry>, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.next_batch().map_err(|error| unreadable(self.table, error));
        let entries = |batch: Vec<RawFlow>| batch.iter().map(|bytes| entry(self.table, bytes)).collect();
        batch.map(|batch| batch.map(entries)).transpose()
    }
}

pub(super) fn unreadable(table: FlowTable, source: io::Error) -> OpenError {
    OpenError::Flows {
        map: table.map(),
        source,
    }
}

impl Pinned {
    /// Reads all elements of a table. An element that changes meanwhile may be missing or present.
    pub fn flows(&self, table: FlowTable) -> Result<FlowBatches, OpenError> {
        Ok(FlowBatches {
            table,
            map: table.open(&self.pins)?,
            at: BatchCursor::default(),
        })
    }

    /// Counts the elements of a table.
    pub fn flow_count(&self, table: FlowTable) -> Result<u64, OpenError> {
        self.flows(table)?
            .try_fold(0, |sum, batch| Ok(sum + batch?.len() as u64))
    }

    /// Returns how many elements a table can hold.
    pub fn flow_capacity(&self, table: FlowTable) -> Result<u32, OpenError> {
        let shape = sys::map_shape(table.open(&self.pins)?);
        let (_, _, capacity) = shape.map_err(|error| unreadable(table, error))?;
        Ok(capacity)
    }

    /// Returns how many elements the agent has deleted. `Established` and `Unreplied` share one counter.
    pub fn flows_removed(&self, table: FlowTable) -> Result<u64, OpenError> {
        self.event(table.removed()).map(|count| count.packets)
    }
}

impl Datapath {
    /// Deletes stale elements and returns how many. `lost` are addresses that had another owner before. With
    /// `moved`, elements of pods whose slot has changed are updated to the new slot.
    pub fn purge_flows(
        &mut self,
        owners: &Owners,
        lost: &BTreeSet<Address>,
        moved: bool,
    ) -> Result<u64, OpenError> {
        let mut removed = 0;
        for table in FlowTable::ALL {
            let deleted = self.purge(table, owners, lost, moved)?;
            self.count_removed(table, deleted)?;
            removed += deleted;
        }
        Ok(removed)
    }

    fn purge(
        &mut self,
        table: FlowTable,
        owners: &Owners,
        lost: &BTreeSet<Address>,
        moved: bool,
    ) -> Result<u64, OpenError> {
        let config = self.pinned.config()?;
        let mut removed = 0;
        let mut flows = self.pinned.flows(table)?;
        let failed = |error| unreadable(table, error);
        while let Some(batch) = flows.next_batch().map_err(failed)? {
            for (key, value) in batch {
                let entry = entry(table, &(key, value));
                let owner = owners.slot(entry.key.pod);
                if let (true, Some(slot), Some(_)) = (moved, owner, entry.slot) {
                    if owner == entry.slot {
                        continue;
                    }
                    let value = with_slot(value, slot);
                    sys::update(&flows.map, (&key, &value), Update::Replace).map_err(failed)?;
                } else if owners.is_stale(entry.key.pod, entry.slot, lost) {
                    removed += u64::from(sys::delete(&flows.map, &key).map_err(failed)?);
                    self.clear_recent(&entry.key, &config)?;
                }
            }
        }
        Ok(removed)
    }

    /// Clears the cache slot of a flow, through which programs find it without its table.
    fn clear_recent(&mut self, key: &FlowKey, config: &Config) -> Result<(), OpenError> {
        let place = cache_index(hash(key, config.seed), config.recent_mask);
        let set = self.pinned.tables.recent.set(place, 0, 0);
        set.map_err(OpenError::table(maps::RECENT))
    }

    /// Counts deletions by the agent, the only writer of these counters.
    pub(super) fn count_removed(&mut self, table: FlowTable, more: u64) -> Result<(), OpenError> {
        if more == 0 {
            return Ok(());
        }
        let failed = OpenError::table(maps::EVENTS);
        let events = &mut self.pinned.tables.events;
        let values = events.get(&table.removed(), 0).map_err(&failed)?;
        let mut values = values.to_vec();
        if let Some(Plain(first)) = values.first_mut() {
            first.packets = first.packets.wrapping_add(more);
        }
        let values = PerCpuValues::try_from(values).map_err(|error| unreadable(table, error))?;
        events.set(table.removed(), values, 0).map_err(failed)
    }
}

/// Converts an element from the kernel's bytes.
fn entry(table: FlowTable, (key, value): &RawFlow) -> FlowEntry {
    let half = |at: usize| u64::from_ne_bytes(array(key, at));
    let port = |at: usize| u16::from_ne_bytes(array(key, at));
    let address = |at: usize| Address {
        high: half(at),
        low: half(at + 8),
    };
    let key = FlowKey {
        remote: address(0),
        pod: address(16),
        remote_port: port(32),
        pod_port: port(34),
        protocol: u32::from_ne_bytes(array(key, 36)),
    };
    let slot = u32::from_ne_bytes(array(value, 0));
    FlowEntry {
        key,
        slot: (table != FlowTable::Stack).then_some(slot),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let bytes = bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.expect("offsets are within the key")
}

fn with_slot(mut bytes: [u8; 8], slot: u32) -> [u8; 8] {
    bytes[..4].copy_from_slice(&slot.to_ne_bytes());
    bytes
}

impl Pinned {
    /// Returns what is counted under an event code, over all CPUs.
    pub(super) fn event(&self, code: u32) -> Result<Count, OpenError> {
        let values = self.tables.events.get(&code, 0);
        values
            .map(|values| crate::datapath::pinned::total(&values))
            .map_err(OpenError::table(maps::EVENTS))
    }

    /// Returns how many packets of draining flows were redirected so far.
    pub fn drained(&self) -> Result<u64, OpenError> {
        self.event(FlowEvent::Drained.code()).map(|count| count.packets)
    }
}

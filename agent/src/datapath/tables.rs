//! The pinned maps, with their types.

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, xdp::DevMap};
use xdp_core::{
    frames::StationTables,
    tables::{
        ActionRecord, Address, Class, Config, Count, FailureKey, IndexWord, Label, NicEntry, PodBlock, Ports,
        Receiver, RuleCounters, SlotWord, SourcesV4, SourcesV6, Station, maps, nic_position,
    },
    verdict,
};

use crate::datapath::{
    error::OpenError,
    flows::shares::ShareTable,
    kernel::{pins::Pins, plain::Plain},
};

pub(in crate::datapath) mod apply;
pub(in crate::datapath) mod config;
pub(in crate::datapath) mod labels;
mod memory;
mod shapes;

pub(super) use shapes::{MAPS, check_shapes, ids, memory, names, sized};

pub(super) use self::memory::MappedTables;

/// The maps of the data path that the agent reads or writes, opened from their pins.
pub(super) struct PinnedTables {
    pub(super) memory: MappedTables,
    pub(super) pods: HashMap<MapData, Plain<Address>, u32>,
    pub(super) stations: HashMap<MapData, Plain<Station>, Plain<Receiver>>,
    pub(super) rule_limits: Array<MapData, u64>,
    pub(super) devices: DevMap<MapData>,
    pub(super) counters: PerCpuArray<MapData, Plain<RuleCounters>>,
    pub(super) delivered: PerCpuArray<MapData, Plain<Count>>,
    pub(super) events: PerCpuArray<MapData, Plain<Count>>,
    pub(super) failures: HashMap<MapData, Plain<FailureKey>, u64>,
    pub(super) config: Array<MapData, Plain<Config>>,
    pub(super) pod_labels: Array<MapData, Plain<Label>>,
    pub(super) problems: Array<MapData, Plain<Label>>,
    pub(super) recent: Array<MapData, u64>,
    pub(super) shares: ShareTable,
}

impl PinnedTables {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        Ok(Self {
            memory: MappedTables::open(pins)?,
            pods: open(pins, maps::PODS)?,
            stations: open(pins, maps::STATIONS)?,
            rule_limits: open(pins, maps::RULE_LIMITS)?,
            devices: open(pins, maps::DEVICES)?,
            counters: open(pins, maps::RULE_COUNTERS)?,
            delivered: open(pins, maps::DELIVERED)?,
            events: open(pins, maps::EVENTS)?,
            failures: open(pins, maps::FAILURES)?,
            config: open(pins, maps::CONFIG)?,
            pod_labels: open(pins, maps::POD_LABELS)?,
            problems: open(pins, maps::PROBLEMS)?,
            recent: open(pins, maps::RECENT)?,
            shares: ShareTable::open(pins)?,
        })
    }
}

pub(super) fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &'static str,
) -> Result<T, OpenError> {
    let data = MapData::from_pin(pins.map(name)).map_err(OpenError::table(name))?;
    Map::from_map_data(data)
        .and_then(T::try_from)
        .map_err(OpenError::table(name))
}

impl StationTables for PinnedTables {
    fn nic(&self, ifindex: u32) -> Option<&NicEntry> {
        let nic = self.memory.nics.get(nic_position(ifindex));
        nic.filter(|nic| nic.ifindex == ifindex)
    }

    fn station(&self, station: &Station) -> Option<Receiver> {
        let Plain(receiver) = self.stations.get(&Plain(*station), 0).ok()?;
        Some(receiver)
    }
}

/// Reads what the kernel holds, as the program does.
impl verdict::RuleTables for PinnedTables {
    fn index(&self, position: u32) -> Option<IndexWord> {
        self.memory.index.load(position).map(IndexWord)
    }

    fn slot(&self, destination: &Address) -> Option<u32> {
        self.pods.get(&Plain(*destination), 0).ok()
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        self.memory.words.load(slot).map(SlotWord)
    }

    fn alive(&self, slot: u32) -> bool {
        self.devices.get(slot, 0).is_ok()
    }

    fn pod(&self, index: u32) -> Option<&PodBlock> {
        self.memory.pods.get(index)
    }

    fn sources_v4(&self, index: u32) -> Option<&SourcesV4> {
        self.memory.sources_v4.get(index)
    }

    fn sources_v6(&self, index: u32) -> Option<&SourcesV6> {
        self.memory.sources_v6.get(index)
    }

    fn class(&self, index: u32) -> Option<&Class> {
        self.memory.classes.get(index)
    }

    fn ports(&self, index: u32) -> Option<&Ports> {
        self.memory.ports.get(index)
    }

    fn action(&self, number: u16) -> Option<&ActionRecord> {
        self.memory.actions.get(u32::from(number))
    }
}

//! The pinned maps, typed.

use std::path::Path;

use aya::maps::xdp::DevMapHash;
use aya::maps::{Array, HashMap, Map, MapData, MapError, MapInfo, MapType, PerCpuArray};
use xdp_core::tables::{
    Address, Block, Config, Count, EVENTS, FailureKey, Label, MAX_ADDRESSES, MAX_BLOCKS, MAX_FAILURES,
    MAX_PROBLEMS, MAX_RULES, MAX_SLOTS, RuleCounters, maps,
};

use super::error::OpenError;
use super::pins::Pins;
use super::raw::Raw;
use super::words::Words;

/// All maps of the data path, opened from their pins.
pub(super) struct Tables {
    pub(super) pods: HashMap<MapData, Raw<Address>, u32>,
    pub(super) words: Words,
    pub(super) blocks: Array<MapData, Raw<Block>>,
    pub(super) devices: DevMapHash<MapData>,
    pub(super) counters: PerCpuArray<MapData, Raw<RuleCounters>>,
    pub(super) delivered: PerCpuArray<MapData, Raw<Count>>,
    pub(super) events: PerCpuArray<MapData, Raw<Count>>,
    pub(super) failures: HashMap<MapData, Raw<FailureKey>, u64>,
    pub(super) config: Array<MapData, Raw<Config>>,
    pub(super) rule_labels: Array<MapData, Raw<Label>>,
    pub(super) pod_labels: Array<MapData, Raw<Label>>,
    pub(super) problems: Array<MapData, Raw<Label>>,
}

impl Tables {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        Ok(Self {
            pods: open(pins, maps::PODS)?,
            words: Words::open(pins)?,
            blocks: open(pins, maps::BLOCKS)?,
            devices: open(pins, maps::DEVICES)?,
            counters: open(pins, maps::RULE_COUNTERS)?,
            delivered: open(pins, maps::DELIVERED)?,
            events: open(pins, maps::EVENTS)?,
            failures: open(pins, maps::FAILURES)?,
            config: open(pins, maps::CONFIG)?,
            rule_labels: open(pins, maps::RULE_LABELS)?,
            pod_labels: open(pins, maps::POD_LABELS)?,
            problems: open(pins, maps::PROBLEMS)?,
        })
    }
}

fn open<T: TryFrom<Map, Error = MapError>>(pins: &Pins, name: &'static str) -> Result<T, OpenError> {
    let data = MapData::from_pin(pins.map(name)).map_err(OpenError::table(name))?;
    Map::from_map_data(data)
        .and_then(T::try_from)
        .map_err(OpenError::table(name))
}

/// What a map must look like to be ours.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            key,
            value,
            entries,
        } = self;
        write!(
            f,
            "a map of type {kind:?}, keys of {key} bytes, values of {value} bytes, {entries} entries"
        )
    }
}

/// Name and shape of every map.
fn shapes() -> [(&'static str, Shape); 12] {
    let shape = |kind, key, value, entries| Shape {
        kind,
        key,
        value,
        entries,
    };
    let array = |value, entries| shape(MapType::Array, 4, value, entries);
    let per_cpu = |value, entries| shape(MapType::PerCpuArray, 4, value, entries);
    [
        (
            maps::PODS,
            shape(MapType::Hash, size_of::<Address>(), 4, MAX_ADDRESSES),
        ),
        (maps::SLOTS, array(8, MAX_SLOTS)),
        (maps::BLOCKS, array(size_of::<Block>(), MAX_BLOCKS)),
        (maps::DEVICES, shape(MapType::DevMapHash, 4, 8, MAX_SLOTS)),
        (maps::RULE_COUNTERS, per_cpu(size_of::<RuleCounters>(), MAX_RULES)),
        (maps::DELIVERED, per_cpu(size_of::<Count>(), MAX_RULES)),
        (maps::EVENTS, per_cpu(size_of::<Count>(), EVENTS)),
        (
            maps::FAILURES,
            shape(MapType::Hash, size_of::<FailureKey>(), 8, MAX_FAILURES),
        ),
        (maps::CONFIG, array(size_of::<Config>(), 1)),
        (maps::RULE_LABELS, array(size_of::<Label>(), MAX_RULES)),
        (maps::POD_LABELS, array(size_of::<Label>(), MAX_SLOTS)),
        (maps::PROBLEMS, array(size_of::<Label>(), MAX_PROBLEMS)),
    ]
}

/// Names of all maps.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    shapes().into_iter().map(|(name, _)| name)
}

/// Every map that is pinned is what it should be. How many there are.
pub(super) fn check_shapes(pins: &Pins) -> Result<usize, OpenError> {
    let mut found = 0;
    for (name, expected) in shapes() {
        let path = pins.map(name);
        if path.exists() {
            check_shape(&path, expected)?;
            found += 1;
        }
    }
    Ok(found)
}

fn check_shape(path: &Path, expected: Shape) -> Result<(), OpenError> {
    let wrong = |found| OpenError::Shape {
        path: path.to_owned(),
        found,
        expected: expected.to_string(),
    };
    let info = MapInfo::from_pin(path).map_err(|error| wrong(format!("is no readable map ({error})")))?;
    let found = Shape {
        kind: info
            .map_type()
            .map_err(|error| wrong(format!("is a map of an unknown type ({error})")))?,
        key: info.key_size() as usize,
        value: info.value_size() as usize,
        entries: info.max_entries(),
    };
    if found == expected {
        Ok(())
    } else {
        Err(wrong(format!("is {found}")))
    }
}

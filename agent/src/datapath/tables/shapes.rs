//! The shapes of the pinned maps: types, sizes and capacities.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use aya::maps::{MapInfo, MapType};
use xdp_core::tables::{
    ActionRecord, Address, Class, Config, Count, EVENTS, FLOW_SHARES, FailureKey, FlowKey, FlowShare,
    FlowValue, FragmentKey, HEARD, INDEX, LIMIT_SETS, Label, LimitSet, MAX_ACTIONS, MAX_ADDRESSES,
    MAX_CLASSES, MAX_FAILURES, MAX_FRAGMENTS, MAX_LIMITS, MAX_NAMESPACES, MAX_NICS, MAX_POD_BLOCKS,
    MAX_PORT_BLOCKS, MAX_PROBLEMS, MAX_RULES, MAX_SLOTS, MAX_SOURCES_V4, MAX_SOURCES_V6, MAX_STATIONS,
    NicEntry, OPENED_SETS, OpenedSet, PodBlock, Ports, Receiver, RuleCounters, RuleText, SentPacket,
    SourcesV4, SourcesV6, Station, maps, recent_len,
};

use crate::datapath::{
    error::OpenError,
    kernel::{pins::Pins, sys},
};

/// The number of maps.
pub(in crate::datapath) const MAPS: usize = 33;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

const fn shape(kind: MapType, key: usize, value: usize, entries: u32) -> Shape {
    Shape {
        kind,
        key,
        value,
        entries,
    }
}

const fn array<T>(entries: u32) -> Shape {
    shape(MapType::Array, 4, size_of::<T>(), entries)
}

const fn per_cpu<T>(entries: u32) -> Shape {
    shape(MapType::PerCpuArray, 4, size_of::<T>(), entries)
}

const fn hash<K, V>(entries: u32) -> Shape {
    shape(MapType::Hash, size_of::<K>(), size_of::<V>(), entries)
}

const fn lru<K, V>(entries: u32) -> Shape {
    shape(MapType::LruHash, size_of::<K>(), size_of::<V>(), entries)
}

const SHAPES: [(&str, Shape); MAPS] = [
    (maps::INDEX, array::<u64>(INDEX)),
    (maps::PODS, hash::<Address, u32>(MAX_ADDRESSES)),
    (maps::SLOTS, array::<u64>(MAX_SLOTS)),
    (maps::POD_BLOCKS, array::<PodBlock>(MAX_POD_BLOCKS)),
    (maps::SOURCES_V4, array::<SourcesV4>(MAX_SOURCES_V4)),
    (maps::SOURCES_V6, array::<SourcesV6>(MAX_SOURCES_V6)),
    (maps::CLASSES, array::<Class>(MAX_CLASSES)),
    (maps::PORT_BLOCKS, array::<Ports>(MAX_PORT_BLOCKS)),
    (maps::ACTIONS, array::<ActionRecord>(MAX_ACTIONS)),
    (maps::RULE_LIMITS, array::<u64>(MAX_LIMITS)),
    (maps::NAMESPACES, array::<u64>(MAX_NAMESPACES)),
    (maps::SOURCE_LIMITS, array::<LimitSet>(LIMIT_SETS)),
    (maps::DEVICES, shape(MapType::DevMap, 4, 8, MAX_SLOTS)),
    (maps::RULE_COUNTERS, per_cpu::<RuleCounters>(MAX_RULES)),
    (maps::DELIVERED, per_cpu::<Count>(MAX_RULES)),
    (maps::EVENTS, per_cpu::<Count>(EVENTS)),
    (maps::FAILURES, hash::<FailureKey, u64>(MAX_FAILURES)),
    (maps::NICS, array::<NicEntry>(MAX_NICS)),
    (maps::STATIONS, hash::<Station, Receiver>(MAX_STATIONS)),
    (maps::CONFIG, array::<Config>(1)),
    (maps::RULE_LABELS, array::<RuleText>(MAX_RULES)),
    (maps::POD_LABELS, array::<Label>(MAX_SLOTS)),
    (maps::PROBLEMS, array::<Label>(MAX_PROBLEMS)),
    (maps::ESTABLISHED, hash::<FlowKey, FlowValue>(ANY)),
    (maps::UNREPLIED, lru::<FlowKey, FlowValue>(ANY)),
    (maps::FLOW_SHARES, array::<FlowShare>(FLOW_SHARES)),
    (maps::STACK, lru::<FlowKey, u64>(ANY)),
    (maps::RECENT, array::<u64>(ANY)),
    (maps::FRAGMENTS, lru::<FragmentKey, u64>(MAX_FRAGMENTS)),
    (maps::OPENED, array::<OpenedSet>(OPENED_SETS)),
    (maps::OPENED_TAGS, array::<u64>(OPENED_SETS / 2)),
    (maps::HEARD, array::<u64>(HEARD)),
    (maps::SENT, per_cpu::<SentPacket>(1)),
];

/// Stands for a capacity that the administrator sets.
const ANY: u32 = 0;

/// Returns the flow tables with their capacities, for `flows` flows in each.
pub(in crate::datapath) fn sized(flows: u32) -> [(&'static str, u32); 4] {
    [
        (maps::ESTABLISHED, flows),
        (maps::UNREPLIED, flows),
        (maps::STACK, flows),
        (maps::RECENT, recent_len(flows)),
    ]
}

/// Returns the names of all maps.
pub(in crate::datapath) fn names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, _)| *name)
}

/// Checks the shape of every pinned map. Returns how many are pinned.
pub(in crate::datapath) fn check_shapes(pins: &Pins) -> Result<usize, OpenError> {
    let mut found = 0;
    for (name, expected) in SHAPES {
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
    let any = Shape {
        entries: ANY,
        ..found
    };
    if found == expected || any == expected {
        Ok(())
    } else {
        Err(wrong(format!("is {found}")))
    }
}

/// Returns the kernel ids of all maps.
pub(in crate::datapath) fn ids(pins: &Pins) -> Result<BTreeSet<u32>, OpenError> {
    let id = |name| {
        let path = pins.map(name);
        let map = sys::open_pin(&path).and_then(sys::map_id);
        map.map_err(|error| OpenError::pin("inspect", &path, error))
    };
    names().map(id).collect()
}

/// Returns the bytes of memory that the kernel accounts for each map.
pub(in crate::datapath) fn memory(pins: &Pins) -> Result<BTreeMap<&'static str, u64>, OpenError> {
    let bytes = |name| {
        let path = pins.map(name);
        let map = sys::open_pin(&path).and_then(|map| sys::accounted(&map));
        map.map(|bytes| (name, bytes))
            .map_err(|error| OpenError::pin("inspect", &path, error))
    };
    names().map(bytes).collect()
}

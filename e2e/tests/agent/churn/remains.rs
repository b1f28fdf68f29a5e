//! Entries of pods in the kernel's tables.

use std::{fs, net::Ipv4Addr};

use aya::maps::{Array, HashMap, Map, MapData, xdp::DevMap};
use xdp_core::tables::{IndexWord, SlotWord};

use crate::fixture::Fixture;

/// Lists everything below the pin directory that belongs to a pod.
pub(super) fn remains(fixture: &Fixture) -> Vec<String> {
    let pins = fixture.pins();
    let links = fs::read_dir(pins.join("links")).unwrap();
    let mut remains: Vec<String> = links
        .map(|link| link.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("reader-"))
        .collect();
    let map = |name: &str| MapData::from_pin(pins.join("maps").join(name)).unwrap();
    let pods: HashMap<_, [u8; 16], u32> = Map::HashMap(map("PODS")).try_into().unwrap();
    remains.extend(
        pods.keys()
            .map(|address| format!("address {:?}", address.unwrap())),
    );
    let index: Array<_, u64> = Map::Array(map("INDEX")).try_into().unwrap();
    let addresses = index.iter().filter_map(|word| IndexWord(word.unwrap()).address());
    remains.extend(addresses.map(|v4| format!("address {}", Ipv4Addr::from(v4))));
    let devices: DevMap<_> = Map::DevMap(map("DEVICES")).try_into().unwrap();
    let has_device = |slot: &u32| devices.get(*slot, 0).is_ok();
    remains.extend(
        (0..devices.len())
            .filter(has_device)
            .map(|slot| format!("device of slot {slot}")),
    );
    let failures: HashMap<_, [u32; 3], u64> = Map::HashMap(map("FAILURES")).try_into().unwrap();
    remains.extend(failures.keys().map(|key| format!("failure {:?}", key.unwrap())));
    let slots: Array<_, u64> = Map::Array(map("SLOTS")).try_into().unwrap();
    let in_use = |slot: &u32| SlotWord(slots.get(slot, 0).unwrap()).block().is_some();
    remains.extend(
        (0..slots.len())
            .filter(in_use)
            .map(|slot| format!("block of slot {slot}")),
    );
    remains
}

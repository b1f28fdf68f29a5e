//! Entries of the flow tables, as the programs write them, and two pods for them.

use std::{collections::BTreeMap, path::Path};

use aya::maps::{HashMap, Map, MapData};
use xdp_agent::datapath::{Datapath, FlowEntry, FlowTable, Settings};
use xdp_core::tables::{Address, FlowValue};
use xdp_plan::owners::Owners;

use crate::{
    bpffs::Bpffs,
    node::{desired, pod, policy, program},
};

pub(crate) const POD: [u8; 4] = [10, 0, 0, 5];
pub(crate) const OTHER: [u8; 4] = [10, 0, 0, 6];

type Raw = HashMap<MapData, [u8; 40], [u8; 8]>;

/// A flow table, written as the programs write it.
pub(crate) struct Table(Raw);

impl Table {
    pub(crate) fn open(maps: &Path, name: &str) -> Self {
        let data = MapData::from_pin(maps.join(name)).unwrap();
        Self(Map::from_map_data(data).unwrap().try_into().unwrap())
    }

    pub(crate) fn add(&mut self, remote_port: u16, pod: [u8; 4], slot: u32) {
        let value = (u64::from(slot)).to_ne_bytes();
        self.0.insert(key(remote_port, pod), value, 0).unwrap();
    }

    pub(crate) fn add_value(&mut self, remote_port: u16, pod: [u8; 4], flow: FlowValue) {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&flow.slot.to_ne_bytes());
        value[4..].copy_from_slice(&flow.state.to_ne_bytes());
        self.0.insert(key(remote_port, pod), value, 0).unwrap();
    }

    pub(crate) fn values(&self) -> Vec<FlowValue> {
        let values = self.0.iter().map(|element| element.unwrap().1);
        let number = |value: [u8; 8], at: usize| u32::from_ne_bytes(value[at..at + 4].try_into().unwrap());
        values
            .map(|value| FlowValue {
                slot: number(value, 0),
                state: number(value, 4),
            })
            .collect()
    }

    pub(crate) fn remove(&mut self, remote_port: u16, pod: [u8; 4]) {
        self.0.remove(&key(remote_port, pod)).unwrap();
    }
}

fn key(remote_port: u16, pod: [u8; 4]) -> [u8; 40] {
    let mut key = Vec::new();
    for address in [Address::v4([192, 0, 2, 1]), Address::v4(pod)] {
        key.extend(address.high.to_ne_bytes());
        key.extend(address.low.to_ne_bytes());
    }
    key.extend(remote_port.to_ne_bytes());
    key.extend(80_u16.to_ne_bytes());
    key.extend(6_u32.to_ne_bytes());
    key.try_into().unwrap()
}

pub(crate) fn maps(bpffs: &Bpffs) -> std::path::PathBuf {
    bpffs.pinned().join("maps")
}

pub(crate) fn open(bpffs: &Bpffs, flows: u32) -> Datapath {
    let settings = Settings {
        flows,
        ..Settings::default()
    };
    Datapath::open_with(&bpffs.pin_dir(), settings).unwrap()
}

/// Returns the remote ports in a table with their slots.
pub(crate) fn held(datapath: &Datapath, table: FlowTable) -> BTreeMap<u16, Option<u32>> {
    let batches = datapath.pinned().flows(table).unwrap();
    let entries = batches.flat_map(Result::unwrap);
    entries
        .map(|FlowEntry { key, slot }| (key.remote_port, slot))
        .collect()
}

/// Programs two pods behind one device. Returns their slots.
pub(crate) fn two_pods(datapath: &mut Datapath) -> (u32, u32) {
    let rule = "{name: all, action: Redirect}";
    let yaml = pod("server-0", &["10.0.0.5"])
        + &pod("server-1", &["10.0.0.6"])
        + &policy("players", "server-0", &[rule])
        + &policy("others", "server-1", &[rule]);
    let mut desired = desired(&yaml);
    // The pods need different link-layer addresses.
    desired.pods[1].identity.mac = [4; 6];
    program(datapath, &desired);
    let owners = Owners::new(&datapath.installed().unwrap());
    let slot = |pod| owners.slot(Address::v4(pod)).unwrap();
    (slot(POD), slot(OTHER))
}

//! Loads the programs, and reports what prevents it.

use std::{collections::BTreeSet, fs};

use xdp_agent::datapath::{Datapath, OpenError, Pinned};
use xdp_core::tables::{MAX_FAILURES, maps};

use crate::bpffs::{Bpffs, Directory};

#[test]
fn every_map_and_every_tracepoint_is_pinned_by_its_name() {
    let bpffs = Bpffs::new();
    let _datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let expected = [
        maps::INDEX,
        maps::PODS,
        maps::SLOTS,
        maps::POD_BLOCKS,
        maps::SOURCES_V4,
        maps::SOURCES_V6,
        maps::CLASSES,
        maps::PORT_BLOCKS,
        maps::ACTIONS,
        maps::RULE_LIMITS,
        maps::NAMESPACES,
        maps::SOURCE_LIMITS,
        maps::DEVICES,
        maps::RULE_COUNTERS,
        maps::DELIVERED,
        maps::EVENTS,
        maps::FAILURES,
        maps::NICS,
        maps::STATIONS,
        maps::CONFIG,
        maps::RULE_LABELS,
        maps::POD_LABELS,
        maps::PROBLEMS,
        maps::ESTABLISHED,
        maps::UNREPLIED,
        maps::FLOW_SHARES,
        maps::STACK,
        maps::RECENT,
        maps::FRAGMENTS,
        maps::OPENED,
        maps::OPENED_TAGS,
        maps::HEARD,
        maps::SENT,
    ];
    assert_eq!(names(&bpffs, "maps"), expected.map(str::to_owned).into());
    let links = ["tp-xdp_devmap_xmit", "tp-xdp_exception", "tp-xdp_redirect_err"];
    assert_eq!(names(&bpffs, "links"), links.map(str::to_owned).into());
}

#[test]
fn a_directory_outside_a_bpffs_is_refused_with_the_remedy() {
    let directory = Directory::new();
    let error = Datapath::open(&directory.path().join("pins")).err().unwrap();
    assert!(matches!(error, OpenError::NotBpffs { .. }), "{error:?}");
    assert!(error.to_string().contains("mount -t bpf"), "{error}");
}

#[test]
fn a_pinned_map_of_another_shape_is_refused_with_path_and_remedy() {
    let bpffs = Bpffs::new();
    drop(Datapath::open(&bpffs.pin_dir()).unwrap());
    let pins = bpffs.pinned().join("maps");
    fs::remove_file(pins.join(maps::SLOTS)).unwrap();
    fs::rename(pins.join(maps::FAILURES), pins.join(maps::SLOTS)).unwrap();
    let error = Datapath::open(&bpffs.pin_dir()).err().unwrap();
    assert!(matches!(error, OpenError::Shape { .. }), "{error:?}");
    let text = error.to_string();
    for part in [
        "/maps/SLOTS",
        &format!("{MAX_FAILURES} entries"),
        "xdp-agent uninstall",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_second_agent_on_the_same_directory_is_refused() {
    let bpffs = Bpffs::new();
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let error = Datapath::open(&bpffs.pin_dir()).err().unwrap();
    assert!(matches!(error, OpenError::Running { .. }), "{error:?}");
    assert!(Pinned::open(&bpffs.pin_dir()).unwrap().agent_running().unwrap());
    drop(datapath);
    assert!(!Pinned::open(&bpffs.pin_dir()).unwrap().agent_running().unwrap());
}

#[test]
fn a_directory_without_pins_is_reported_as_not_installed() {
    let bpffs = Bpffs::new();
    let error = Pinned::open(&bpffs.pin_dir()).err().unwrap();
    assert!(matches!(error, OpenError::NotInstalled { .. }), "{error:?}");
}

fn names(bpffs: &Bpffs, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(bpffs.pinned().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

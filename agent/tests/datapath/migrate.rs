//! Reads and purges the flow tables, and migrates flows to tables of another size or layout.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use rstest::rstest;
use xdp_agent::{
    datapath::{Datapath, FlowTable, Uninstall},
    testing::HostAndPod,
};
use xdp_core::tables::{ABI_VERSION, Address, DEFAULT_FLOWS, MIN_FLOWS};
use xdp_plan::{hook::Hook, owners::Owners};

use crate::{
    attach::host0,
    bpffs::Bpffs,
    entries::{OTHER, POD, Table, held, maps, open, two_pods},
};

#[test]
fn tables_have_the_wanted_capacity_and_are_read_completely() {
    let bpffs = Bpffs::new();
    let datapath = open(&bpffs, 50_000);
    let mut flows = Table::open(&maps(&bpffs), "ESTABLISHED");
    for port in 1..20_000 {
        flows.add(port, POD, 3);
    }
    let held = held(&datapath, FlowTable::Established);
    assert_eq!(held.len(), 19_999);
    assert!(held.values().all(|slot| *slot == Some(3)));
    for table in FlowTable::ALL {
        assert_eq!(datapath.pinned().flow_capacity(table).unwrap(), 50_000);
    }
    let counted = datapath.pinned().flow_count(FlowTable::Established).unwrap();
    assert_eq!(counted, 19_999);
    assert_eq!(datapath.pinned().config().unwrap().recent_mask, (1 << 18) - 1);
    println!("{:?}", datapath.pinned().memory().unwrap());
}

#[test]
fn an_agent_with_the_same_capacity_adopts_the_tables() {
    let bpffs = Bpffs::new();
    drop(open(&bpffs, MIN_FLOWS));
    Table::open(&maps(&bpffs), "ESTABLISHED").add(7, POD, 0);
    let datapath = open(&bpffs, MIN_FLOWS);
    assert!(!datapath.migrating());
    assert_eq!(
        held(&datapath, FlowTable::Established),
        BTreeMap::from([(7, Some(0))])
    );
}

#[test]
fn flows_are_migrated_to_tables_of_another_capacity_with_all_later_changes() {
    let bpffs = Bpffs::new();
    drop(open(&bpffs, MIN_FLOWS));
    let names = [
        (FlowTable::Established, "ESTABLISHED"),
        (FlowTable::Unreplied, "UNREPLIED"),
        (FlowTable::Stack, "STACK"),
    ];
    // The tables that the old programs use.
    let mut old = names.map(|(table, name)| (table, Table::open(&maps(&bpffs), name)));
    for (_, table) in &mut old {
        table.add(1, POD, 0);
        table.add(2, POD, 0);
    }
    let mut datapath = open(&bpffs, DEFAULT_FLOWS);
    assert!(datapath.migrating());
    let ports = |datapath: &Datapath, table| held(datapath, table).into_keys().collect::<Vec<_>>();
    for (table, _) in &old {
        assert!(ports(&datapath, *table).is_empty());
    }
    assert_eq!(datapath.migrate_flows().unwrap(), 6);
    for (table, old) in &mut old {
        assert_eq!(ports(&datapath, *table), [1, 2]);
        old.remove(1, POD);
        old.add(3, POD, 0);
    }
    // A flow that the new programs deleted is not added again, although the old table still has it.
    Table::open(&maps(&bpffs), "ESTABLISHED").remove(2, POD);
    assert_eq!(datapath.migrate_flows().unwrap(), 3);
    assert_eq!(ports(&datapath, FlowTable::Established), [3]);
    assert_eq!(ports(&datapath, FlowTable::Unreplied), [2, 3]);
    assert_eq!(ports(&datapath, FlowTable::Stack), [2, 3]);
    // The old programs used the same event counters.
    assert_eq!(
        datapath.pinned().flows_removed(FlowTable::Established).unwrap(),
        0
    );
    datapath.finish_migration().unwrap();
    assert!(!datapath.migrating());
    drop(datapath);
    assert!(!open(&bpffs, DEFAULT_FLOWS).migrating());
}

#[test]
fn flows_for_which_a_smaller_table_has_no_room_are_left_to_the_stack() {
    let bpffs = Bpffs::new();
    drop(open(&bpffs, 2 * MIN_FLOWS));
    let mut flows = Table::open(&maps(&bpffs), "ESTABLISHED");
    for port in 1..1500 {
        flows.add(port, POD, 0);
    }
    let mut datapath = open(&bpffs, MIN_FLOWS);
    assert_eq!(datapath.migrate_flows().unwrap(), u64::from(MIN_FLOWS));
    assert_eq!(held(&datapath, FlowTable::Established).len(), MIN_FLOWS as usize);
    datapath.finish_migration().unwrap();
}

#[test]
fn a_migration_that_was_interrupted_is_completed_by_the_next_agent() {
    let bpffs = Bpffs::new();
    drop(open(&bpffs, MIN_FLOWS));
    Table::open(&maps(&bpffs), "ESTABLISHED").add(1, POD, 0);
    drop(open(&bpffs, 2 * MIN_FLOWS));
    Table::open(&maps(&bpffs), "ESTABLISHED").add(2, POD, 0);
    // With another capacity once more.
    let mut datapath = open(&bpffs, 3 * MIN_FLOWS);
    assert_eq!(datapath.migrate_flows().unwrap(), 2);
    assert_eq!(held(&datapath, FlowTable::Established).len(), 2);
    datapath.finish_migration().unwrap();
}

/// An older version of the layout, with its names of the flow tables, and a later one.
#[rstest]
#[case::older(1, ["FLOWS", "YOUNG", "THEIRS"])]
#[case::later(ABI_VERSION + 1, ["ESTABLISHED", "UNREPLIED", "STACK"])]
fn flows_of_another_layout_are_migrated_to_the_present_slots_of_their_pods(
    #[case] version: u32,
    #[case] names: [&str; 3],
) {
    let bpffs = Bpffs::new();
    drop(open(&bpffs, MIN_FLOWS));
    let mut flows = Table::open(&maps(&bpffs), "ESTABLISHED");
    flows.add(1, POD, 900);
    flows.add(2, OTHER, 901);
    flows.add(3, [10, 0, 0, 99], 902);
    for (now, then) in ["ESTABLISHED", "UNREPLIED", "STACK"].into_iter().zip(names) {
        fs::rename(maps(&bpffs).join(now), maps(&bpffs).join(then)).unwrap();
    }
    let then = bpffs.pin_dir().join(format!("abi-{version}"));
    fs::rename(bpffs.pinned(), &then).unwrap();
    let mut datapath = open(&bpffs, MIN_FLOWS);
    assert!(!then.exists());
    assert_eq!(datapath.migrate_flows().unwrap(), 3);
    let counted = datapath.pinned().flows_removed(FlowTable::Established).unwrap();
    assert_eq!(counted.wrapping_add(3), 0);
    let (first, second) = two_pods(&mut datapath);
    let owners = Owners::new(&datapath.installed().unwrap());
    datapath.purge_flows(&owners, &BTreeSet::new(), true).unwrap();
    let expected = BTreeMap::from([(1, Some(first)), (2, Some(second))]);
    assert_eq!(held(&datapath, FlowTable::Established), expected);
}

#[test]
fn flows_of_addresses_with_another_or_no_owner_are_deleted_and_counted() {
    let bpffs = Bpffs::new();
    let mut datapath = open(&bpffs, MIN_FLOWS);
    let (first, second) = two_pods(&mut datapath);
    for name in ["ESTABLISHED", "UNREPLIED", "STACK"] {
        let mut table = Table::open(&maps(&bpffs), name);
        table.add(1, POD, first);
        table.add(2, OTHER, first);
        table.add(3, OTHER, second);
        table.add(4, [10, 0, 0, 99], first);
    }
    let owners = Owners::new(&datapath.installed().unwrap());
    let removed = datapath.purge_flows(&owners, &BTreeSet::new(), false).unwrap();
    // A flow of the stack does not say of which slot it is.
    assert_eq!(removed, 2 + 2 + 1);
    for table in [FlowTable::Established, FlowTable::Unreplied] {
        assert_eq!(
            held(&datapath, table),
            BTreeMap::from([(1, Some(first)), (3, Some(second))])
        );
        assert_eq!(datapath.pinned().flows_removed(table).unwrap(), 4);
    }
    assert_eq!(held(&datapath, FlowTable::Stack).len(), 3);
    assert_eq!(datapath.pinned().flows_removed(FlowTable::Stack).unwrap(), 1);

    let lost = BTreeSet::from([Address::v4(OTHER)]);
    assert_eq!(datapath.purge_flows(&owners, &lost, false).unwrap(), 1 + 1 + 2);
}

#[test]
fn uninstalling_drains_active_flows_and_does_not_wait_for_idle_ones() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = open(&bpffs, MIN_FLOWS);
    let (first, _) = two_pods(&mut datapath);
    fixture
        .host
        .run(|| datapath.attach_hook(Hook::PodIn, host, "host0"))
        .unwrap();
    drop(datapath);
    Table::open(&maps(&bpffs), "ESTABLISHED").add(1, POD, first);
    let started = std::time::Instant::now();
    let uninstall = fixture.host.run(|| Uninstall::begin(&bpffs.pin_dir())).unwrap();
    let took = started.elapsed();
    // Draining active flows can take up to ten seconds.
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
    let done = uninstall.finish(&BTreeSet::new()).unwrap();
    assert!(done.failures.is_empty(), "{:?}", done.failures);
}

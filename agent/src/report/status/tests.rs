use std::collections::BTreeMap;

use xdp_core::{
    events::{Event, Fallback, FlowEvent, ForeignFrame, Unparsed, UnparsedDrop},
    tables::{Address, Count, FailureKey, IndexWord, PodBlock, RuleCounters, SlotWord, index_position},
};
use xdp_crds::NicMode;
use xdp_plan::{
    facts::{NotReady, Readiness},
    installed::{PodLabel, RuleLabel, SlotIdentity},
    nics::{HostLink, XdpMode, XdpState},
};

use crate::{
    datapath::{FlowTable, NicProgram},
    report::{
        output::json,
        status::{
            NodeStatus,
            build::status,
            collect::{FlowTableState, HostInterface, KernelSnapshot},
        },
    },
};

const SLOT: u32 = 4;
const VETH: u32 = 12;
const NIC: u32 = 3;
const V4: u32 = u32::from_be_bytes([10, 0, 0, 5]);

fn count(packets: u64) -> Count {
    Count {
        packets,
        bytes: 100 * packets,
    }
}

fn pod(readiness: Readiness) -> PodLabel {
    PodLabel {
        identity: SlotIdentity {
            namespace: "games".to_owned(),
            pod: "server-0".to_owned(),
            uid: String::new(),
            ifindex: VETH,
            mac: [2, 0, 0, 0, 0, 0xab],
        },
        interface: "veth1a2b".to_owned(),
        addresses: Vec::new(),
        readiness,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
    }
}

fn snapshot() -> KernelSnapshot {
    let mut snapshot = KernelSnapshot::default();
    let installed = &mut snapshot.installed;
    let word = IndexWord::new(V4, SLOT, false);
    installed.index.insert(index_position(V4), word);
    installed.words.insert(SLOT, SlotWord::new(7, 1));
    installed.devices.insert(SLOT, VETH);
    installed.pods.insert(SLOT, pod(Readiness::Ready));
    let label = RuleLabel {
        namespace: "games".to_owned(),
        policy: "players".to_owned(),
        rule: "scanners".to_owned(),
    };
    std::sync::Arc::make_mut(&mut installed.rules).insert(9, std::sync::Arc::new(label));
    let counters = RuleCounters {
        dropped: count(41),
        ..RuleCounters::default()
    };
    snapshot.counters.insert(9, (counters, Count::default()));
    snapshot
}

fn nic(mode: XdpMode, attached: u32, own: Option<u32>) -> NicMode {
    let link = HostLink {
        ifindex: NIC,
        name: "eth1".to_owned(),
        xdp: XdpState {
            mode,
            program_id: Some(attached).filter(|id| *id != 0),
        },
        ..HostLink::default()
    };
    let interface = HostInterface {
        link,
        ..HostInterface::default()
    };
    let program = |program_id| NicProgram {
        program_id,
        program_tag: 1,
    };
    let programs = own.map(|id| (NIC, program(id))).into_iter().collect();
    let problem = xdp_plan::report::Problem::new("NIC eth1", "Busy", "busy", "free it");
    let snapshot = KernelSnapshot {
        links: vec![interface],
        programs,
        problems: vec![problem],
        ..KernelSnapshot::default()
    };
    status(&snapshot).nics[0].mode
}

#[test]
fn the_mode_tells_the_agents_program_from_a_foreign_one() {
    assert_eq!(nic(XdpMode::Native, 7, Some(7)), NicMode::Native);
    assert_eq!(nic(XdpMode::Generic, 7, Some(7)), NicMode::Generic);
    assert_eq!(nic(XdpMode::None, 0, None), NicMode::None);
    assert_eq!(nic(XdpMode::Native, 7, None), NicMode::Foreign);
    assert_eq!(nic(XdpMode::Native, 8, Some(7)), NicMode::Foreign);
}

#[test]
fn a_pod_is_programmed_exactly_while_address_rules_and_device_exist() {
    type Break = fn(&mut KernelSnapshot);
    let breaks: [Break; 4] = [
        |snapshot| snapshot.installed.index.clear(),
        |snapshot| snapshot.installed.words.clear(),
        |snapshot| snapshot.installed.devices.clear(),
        |snapshot| snapshot.installed.devices = BTreeMap::from([(SLOT, VETH + 1)]),
    ];
    let whole = status(&snapshot());
    assert!(whole.pods[0].programmed);
    assert_eq!(
        (whole.pods[0].generation, whole.pods[0].mac.as_str()),
        (7, "02:00:00:00:00:ab")
    );
    for broken in breaks {
        let mut snapshot = snapshot();
        broken(&mut snapshot);
        assert!(!status(&snapshot).pods[0].programmed);
    }
}

#[test]
fn failures_are_shown_by_pod_stage_and_name_of_the_errno() {
    let key = |kind, subject, code| FailureKey { kind, subject, code };
    let mut snapshot = snapshot();
    snapshot.failures = BTreeMap::from([
        (key(FailureKey::REDIRECT_ERR, SLOT, 90), 1),
        (key(FailureKey::DEVMAP_XMIT, VETH, 6), 2),
        (key(FailureKey::DEVMAP_XMIT, VETH, 0), 3),
        (key(FailureKey::DEVMAP_XMIT, VETH + 1, 6), 4),
        (key(FailureKey::EXCEPTION, NIC, 0), 5),
    ]);
    let status = status(&snapshot);
    let failures = status.pods[0].failures.iter();
    let failures: Vec<_> = failures
        .map(|failure| (failure.stage, failure.errno.as_str(), failure.packets))
        .collect();
    assert_eq!(
        failures,
        [
            ("redirect", "EMSGSIZE", 1),
            ("flush", "", 3),
            ("flush", "ENXIO", 2)
        ]
    );
    assert_eq!(
        (
            status.exceptions[0].nic.as_str(),
            status.exceptions[0].action.as_str()
        ),
        ("3", "Aborted")
    );
    assert!(status.table().contains("ENXIO"));
}

#[test]
fn events_are_shown_by_name_once_they_happen() {
    let mut snapshot = snapshot();
    snapshot.events = BTreeMap::from([
        (Unparsed::NotIp.code(), count(3)),
        (ForeignFrame::OtherVlan.code(), count(6)),
        (Fallback::PortState.code(), count(7)),
        (Fallback::TooLong.code(), count(4)),
        (UnparsedDrop::Short.code(), count(6)),
        (Event::RejectSilent.code(), count(5)),
    ]);
    let status = status(&snapshot);
    assert_eq!(status.unparsed, BTreeMap::from([("NotIp", 3)]));
    assert_eq!(status.foreign, BTreeMap::from([("OtherVlan", 6)]));
    assert_eq!(status.unparsed_drops, BTreeMap::from([("Short", 6)]));
    assert_eq!(
        status.fallbacks,
        BTreeMap::from([("TooLong", 4), ("PortState", 7)])
    );
    assert_eq!(status.events, BTreeMap::from([("RejectSilent", 5)]));
}

#[test]
fn addresses_in_the_hash_are_shown_with_those_in_the_index() {
    let mut snapshot = snapshot();
    let v6 = Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    snapshot.installed.addresses.insert(v6, SLOT);
    let shown: Vec<String> = status(&snapshot).pods[0]
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["10.0.0.5", "2001:db8::5"]);
}

#[test]
fn tables_in_use_are_shown_with_the_capacity_for_policies() {
    let mut snapshot = snapshot();
    snapshot.installed.blocks.pods.insert(1, PodBlock::default());
    let status = status(&snapshot);
    let usage = |table| status.tables.iter().find(|usage| usage.table == table).unwrap();
    assert_eq!(
        (usage("pod_blocks").used, usage("pod_blocks").capacity),
        (1, 1024)
    );
    assert_eq!(usage("classes").used, 0);
    let table = status.table();
    assert!(
        table.contains("pod_blocks") && !table.contains("classes"),
        "{table}"
    );
}

#[test]
fn the_table_leaves_out_counters_that_are_zero_everywhere() {
    let table = status(&snapshot()).table();
    assert!(table.contains("DROPPED") && table.contains("41"), "{table}");
    assert!(
        !table.contains("AUDITED") && !table.contains("REDIRECTED"),
        "{table}"
    );
}

#[test]
fn the_table_says_why_a_pod_is_not_ready_within_a_hundred_columns() {
    let mut snapshot = snapshot();
    let message = "GRO is on, but the host's end does not show NDO_XMIT; ".repeat(4);
    let readiness = Readiness::NotReady {
        reason: NotReady::NoNdoXmit,
        message,
    };
    snapshot.installed.pods.insert(SLOT, pod(readiness));
    let table = status(&snapshot).table();
    assert!(table.contains("NoNdoXmit"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn the_json_has_the_documented_names() {
    let status: NodeStatus = status(&snapshot());
    let json: serde_json::Value = serde_json::from_str(&json(&status)).unwrap();
    for pointer in [
        "/pinDir",
        "/agent/running",
        "/nics",
        "/exceptions",
        "/problems",
        "/unparsed",
        "/foreign",
        "/unparsedDrops",
        "/fallbacks",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(json["pods"][0]["readiness"]["state"], "Ready");
    assert_eq!(json["pods"][0]["programmed"], true);
    assert_eq!(json["pods"][0]["addresses"][0], "10.0.0.5");
    assert_eq!(json["rules"][0]["dropped"]["packets"], 41);
    assert_eq!(json["rules"][0]["fellBack"]["bytes"], 0);
}

fn held(used: u64, removed: u64) -> FlowTableState {
    FlowTableState {
        used,
        capacity: 1024,
        removed,
    }
}

/// Returns the evictions of the tables of tracked flows, and of the stack's table.
fn evicted(events: &[(FlowEvent, u64)], held: [FlowTableState; 3]) -> (u64, u64) {
    let mut snapshot = snapshot();
    let events = events
        .iter()
        .map(|(event, packets)| (event.code(), count(*packets)));
    snapshot.events = events.collect();
    snapshot.flows = FlowTable::ALL.into_iter().zip(held).collect();
    let flows = status(&snapshot).flows;
    assert_eq!(flows[1].evicted, 0);
    (flows[0].evicted, flows[2].evicted)
}

#[test]
fn evicted_flows_are_those_added_not_deleted_and_absent() {
    let events = [
        (FlowEvent::Opened, 100),
        (FlowEvent::Established, 50),
        (FlowEvent::Restored, 2),
        (FlowEvent::ReclaimedByStack, 10),
        (FlowEvent::Deleted, 5),
        (FlowEvent::StackFlowNoted, 20),
    ];
    let found = evicted(&events, [held(40, 7), held(30, 0), held(12, 3)]);
    assert_eq!(found, (102 - 10 - 5 - 7 - 40 - 30, 20 - 3 - 12));
}

#[test]
fn flows_added_while_the_tables_were_read_do_not_underflow() {
    let found = evicted(
        &[(FlowEvent::Opened, 100)],
        [held(103, 0), held(0, 0), held(1, 0)],
    );
    assert_eq!(found, (0, 0));
}

#[test]
fn migrated_flows_count_as_added() {
    let migrated = 0_u64.wrapping_sub(30);
    let found = evicted(
        &[(FlowEvent::Opened, 5)],
        [held(25, migrated), held(8, 0), held(0, 0)],
    );
    assert_eq!(found.0, 2);
}

#[test]
fn the_table_shows_a_missing_reply_path_and_draining_pods() {
    let mut snapshot = snapshot();
    let lost = Readiness::NotReady {
        reason: NotReady::NoReplyPath,
        message: "`pod_out` cannot be attached".to_owned(),
    };
    let label = PodLabel {
        reply_path: lost,
        ..pod(Readiness::Ready)
    };
    snapshot.installed.pods.insert(SLOT, label.clone());
    let table = status(&snapshot).table();
    assert!(table.contains("NoReplyPath: `pod_out`"), "{table}");
    let label = PodLabel {
        draining: true,
        ..label
    };
    snapshot.installed.pods.insert(SLOT, label);
    assert!(status(&snapshot).table().contains("Draining"));
}

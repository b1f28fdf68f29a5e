//! A restarted agent adopts what is pinned.

use std::{collections::BTreeMap, sync::Arc};

use xdp_agent::datapath::{Datapath, Pinned, Settings};
use xdp_core::{
    tables::{
        Action, ActionRecord, Address, Class, IndexWord, PodBlock, PortRef, PortTarget, SlotWord, SourceRef,
        index_position, nic_position,
    },
    testing::NIC,
};
use xdp_plan::{
    change::{Change, ChangeResult, Content},
    facts::Readiness,
    installed::{PodLabel, RuleLabel, SlotIdentity},
    policy::MarkMask,
    report::Problem,
};

use crate::{bpffs::Bpffs, judge::apply};

/// `lo`: any device, because no packet is redirected.
const LOOPBACK: u32 = 1;
const V4: u32 = u32::from_be_bytes([10, 0, 0, 5]);
const CLASS: u32 = 11;
const ACTION: u16 = 13;

#[test]
fn applied_changes_are_read_back_by_a_later_agent() {
    let bpffs = Bpffs::new();
    apply(&mut Datapath::open(&bpffs.pin_dir()).unwrap(), &changes(3, 7));
    let installed = Datapath::open(&bpffs.pin_dir()).unwrap().installed().unwrap();
    assert_eq!(
        installed.index,
        BTreeMap::from([(index_position(V4), IndexWord::new(V4, 3, false))])
    );
    assert_eq!(installed.addresses, BTreeMap::from([(v6(), 3)]));
    assert_eq!(installed.words, BTreeMap::from([(3, SlotWord::new(1, 7))]));
    assert_eq!(installed.blocks.pods, [(7, block())].into_iter().collect());
    assert_eq!(installed.blocks.classes, [(CLASS, class())].into_iter().collect());
    assert_eq!(
        installed.blocks.actions,
        [(u32::from(ACTION), action())].into_iter().collect()
    );
    assert_eq!(installed.devices, BTreeMap::from([(3, LOOPBACK)]));
    assert_eq!(installed.pods, BTreeMap::from([(3, pod())]));
    assert_eq!(*installed.rules, BTreeMap::from([(9, rule())]));
}

#[test]
fn after_a_failure_only_the_changes_of_its_slot_are_skipped() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let changes = [
        Change::SetDevice {
            slot: 1,
            ifindex: u32::MAX,
        },
        Change::SetAddress {
            address: v6(),
            slot: 1,
        },
        Change::SetDevice {
            slot: 2,
            ifindex: LOOPBACK,
        },
    ];
    let outcomes = datapath.apply(&changes);
    assert!(
        matches!(
            outcomes[..],
            [
                ChangeResult::Failed(_),
                ChangeResult::Skipped,
                ChangeResult::Applied
            ]
        ),
        "{outcomes:?}"
    );
    assert_eq!(
        datapath.installed().unwrap().devices,
        BTreeMap::from([(2, LOOPBACK)])
    );
}

#[test]
fn removing_an_absent_element_succeeds() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    apply(
        &mut datapath,
        &[
            Change::ClearDevice { slot: 5 },
            Change::ClearAddress { address: v6() },
        ],
    );
}

#[test]
fn the_counters_of_a_reused_rule_id_start_from_zero() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    apply(&mut datapath, &changes(3, 7));
    datapath.test_run(&frame()).unwrap();
    assert_eq!(datapath.pinned().rule_counters(9).unwrap().dropped.packets, 1);
    apply(
        &mut datapath,
        &[Change::SetRuleLabel {
            rule: 9,
            label: rule(),
        }],
    );
    assert_eq!(datapath.pinned().rule_counters(9).unwrap().dropped.packets, 0);
}

#[test]
fn the_seed_is_kept_and_the_settings_are_the_last_agents() {
    let bpffs = Bpffs::new();
    let config = |rejects_per_second| {
        let settings = Settings {
            rejects_per_second,
            mark_mask: MarkMask(rejects_per_second << 8),
            ..Settings::default()
        };
        let datapath = Datapath::open_with(&bpffs.pin_dir(), settings).unwrap();
        datapath.pinned().config().unwrap()
    };
    let (first, second) = (config(10), config(20));
    assert_ne!(first.seed, 0);
    assert_eq!(first.seed, second.seed);
    assert_eq!((first.rejects_per_second, second.rejects_per_second), (10, 20));
    assert_eq!((first.mark_mask, second.mark_mask), (10 << 8, 20 << 8));
}

#[test]
fn problems_are_stored_for_status_even_if_they_are_long() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let short = Problem::new("XdpPolicy games/players", "Limit", "too many rules", "use fewer");
    let long = Problem::new("NIC eth1", "Mtu", "ä".repeat(5000), "lower it");
    datapath.set_problems(&[short.clone(), long]).unwrap();
    let read = Pinned::open(&bpffs.pin_dir()).unwrap().problems().unwrap();
    assert_eq!(read[0], short);
    assert_eq!(
        (read[1].object.as_str(), read[1].remedy.as_str()),
        ("NIC eth1", "lower it")
    );
    assert!(read[1].message.ends_with('…'));
    datapath.set_problems(&[]).unwrap();
    assert!(datapath.pinned().problems().unwrap().is_empty());
}

fn changes(slot: u32, index: u32) -> Vec<Change> {
    vec![
        Change::SetNic {
            position: nic_position(NIC.ifindex),
            nic: NIC,
        },
        Change::SetRuleLabel {
            rule: 9,
            label: rule(),
        },
        Change::SetPodLabel {
            slot,
            label: pod(),
            fresh: true,
        },
        Change::SetDevice {
            slot,
            ifindex: LOOPBACK,
        },
        Change::Write {
            index: u32::from(ACTION),
            content: Content::Action(action()),
        },
        Change::Write {
            index: CLASS,
            content: Content::Class(class()),
        },
        Change::Write {
            index,
            content: Content::Pod(block()),
        },
        Change::SetWord {
            slot,
            word: SlotWord::new(1, index),
        },
        Change::SetIndex {
            position: index_position(V4),
            word: IndexWord::new(V4, slot, false),
        },
        Change::SetAddress { address: v6(), slot },
        Change::Fence,
    ]
}

fn v6() -> Address {
    Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5])
}

fn block() -> PodBlock {
    PodBlock {
        mtu: 1500,
        sources_v4: SourceRef::class(CLASS),
        sources_v6: SourceRef::class(CLASS),
        mac: [2, 0, 0, 0, 0, 5],
        flags: 0,
        host: 5,
    }
}

fn class() -> Class {
    Class {
        udp: PortRef::new(PortTarget::Action(ACTION)),
        ..Class::default()
    }
}

fn action() -> ActionRecord {
    ActionRecord {
        rule: 9,
        action: Action::Drop as u8,
        ..ActionRecord::default()
    }
}

fn rule() -> Arc<RuleLabel> {
    Arc::new(RuleLabel {
        namespace: "games".to_owned(),
        policy: "players".to_owned(),
        rule: "all".to_owned(),
    })
}

fn pod() -> PodLabel {
    PodLabel {
        identity: SlotIdentity {
            namespace: "games".to_owned(),
            pod: "server-0".to_owned(),
            uid: "1".to_owned(),
            ifindex: LOOPBACK,
            mac: [2, 0, 0, 0, 0, 5],
        },
        interface: "lo".to_owned(),
        addresses: vec!["10.0.0.5".parse().unwrap()],
        readiness: Readiness::Ready,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
    }
}

/// An Ethernet frame with an IPv4 UDP packet to [`V4`].
fn frame() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([
        0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 10, 0, 0, 5,
    ]);
    frame.extend([0, 7, 0, 9, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

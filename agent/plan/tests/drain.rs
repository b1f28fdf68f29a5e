//! Pods that drain: no rule redirects to them any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use xdp_core::tables::{Address, IndexWord, PodBlock, SlotWord, index_position};
use xdp_crds::network_policy::{NETWORK_POLICY, PolicyName};
use xdp_plan::{
    desired::Desired,
    drain::{Draining, Drains, Moment, QUIET, draining, keep_draining},
    facts::{Deliveries, NodeFacts, NotReady, Readiness},
    installed::{Installed, PodLabel, SlotIdentity},
    network_policy::{CertainTraffic, NotCertain, NotCertainReason},
    owners::Owners,
    targets::{PodCertainty, Targets},
    testing::node::pair,
};

const SLOT: u32 = 7;
const VETH: u32 = 12;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn facts() -> NodeFacts {
    NodeFacts {
        pairs: vec![pair(VETH, vec![ip(5), ip(6)]), pair(13, vec![ip(9)])],
        ..NodeFacts::default()
    }
}

fn label(name: &str, ifindex: u32) -> PodLabel {
    PodLabel {
        identity: SlotIdentity {
            namespace: "games".into(),
            pod: name.into(),
            uid: "u".into(),
            ifindex,
            mac: [2, 0, 0, 0, 0, 2],
        },
        interface: "veth".into(),
        addresses: vec![ip(5), ip(6)],
        readiness: Readiness::Ready,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
    }
}

/// The tables of one pod at [`SLOT`] whose block has these flags.
fn installed(flags: u16) -> Installed {
    let mut installed = Installed::default();
    installed.pods.insert(SLOT, label("server-0", VETH));
    installed.words.insert(SLOT, SlotWord::new(1, 3));
    let block = PodBlock {
        flags,
        ..PodBlock::default()
    };
    installed.blocks.pods.insert(3, block);
    installed
}

fn found(flags: u16, facts: &NodeFacts) -> Vec<Draining> {
    draining(&installed(flags), &Targets::default(), facts)
}

#[test]
fn a_pod_with_a_reply_path_drains_when_no_rule_redirects_to_it() {
    for flags in [PodBlock::REPLY_PATH, PodBlock::DRAIN | PodBlock::NO_PEER] {
        let found = found(flags, &facts());
        assert_eq!((found.len(), found[0].slot), (1, SLOT));
        assert_eq!(found[0].target.addresses, [ip(5), ip(6)]);
        assert_eq!(found[0].target.pod.to_string(), "Pod games/server-0");
    }
    assert!(found(PodBlock::NOT_READY, &facts()).is_empty());
}

#[test]
fn a_pod_does_not_drain_while_a_rule_redirects_to_it() {
    let mut targets = Targets::default();
    let mut target = found(PodBlock::REPLY_PATH, &facts())[0].target.clone();
    targets.targets.push(target.clone());
    assert!(draining(&installed(PodBlock::REPLY_PATH), &targets, &facts()).is_empty());
    target.wants_redirect = false;
    targets.targets = vec![target];
    assert_eq!(
        draining(&installed(PodBlock::REPLY_PATH), &targets, &facts()).len(),
        1
    );
}

#[test]
fn a_pod_whose_interface_is_absent_or_was_recreated_does_not_drain() {
    let gone = NodeFacts {
        pairs: vec![pair(13, vec![ip(5)])],
        ..NodeFacts::default()
    };
    assert!(found(PodBlock::REPLY_PATH, &gone).is_empty());
    let mut recreated = facts();
    recreated.pairs[0].pod.mac = [4; 6];
    assert!(found(PodBlock::REPLY_PATH, &recreated).is_empty());
}

#[test]
fn an_address_that_another_interface_carries_too_goes_on_draining() {
    let mut facts = facts();
    facts.pairs[1].addresses.push(ip(6));
    assert_eq!(
        found(PodBlock::REPLY_PATH, &facts)[0].target.addresses,
        [ip(5), ip(6)]
    );
}

#[test]
fn addresses_that_left_or_belong_to_another_pod_do_not_drain() {
    let mut facts = facts();
    let mut taken = found(PodBlock::REPLY_PATH, &facts)[0].target.clone();
    taken.pair = facts.pairs[1].clone();
    taken.addresses = vec![ip(6)];
    let targets = Targets {
        targets: vec![taken],
        ..Targets::default()
    };
    let left = draining(&installed(PodBlock::REPLY_PATH), &targets, &facts);
    assert_eq!(left[0].target.addresses, [ip(5)]);
    facts.pairs[0].addresses = vec![ip(9)];
    assert!(found(PodBlock::REPLY_PATH, &facts).is_empty());
}

fn able(redirect: Readiness, reply_path: Readiness) -> BTreeMap<u32, Deliveries> {
    let peer = Readiness::Ready;
    let deliveries = Deliveries {
        redirect,
        peer,
        reply_path,
    };
    BTreeMap::from([(VETH, deliveries)])
}

fn lost(reason: NotReady) -> Readiness {
    let message = String::new();
    Readiness::NotReady { reason, message }
}

#[test]
fn a_draining_pod_is_desired_without_rules_while_it_is_ready() {
    let pods = found(PodBlock::REPLY_PATH, &facts());
    let desired = |deliveries| {
        let mut desired = Desired::default();
        keep_draining(&mut desired, &pods, &deliveries);
        desired.pods
    };
    let going_on = desired(able(Readiness::Ready, Readiness::Ready));
    assert_eq!(going_on.len(), 1);
    assert!(going_on[0].draining && going_on[0].rules.rules.is_empty());
    assert_eq!(going_on[0].identity, label("server-0", VETH).identity);
    assert_eq!(going_on[0].addresses, [ip(5), ip(6)]);
    assert!(desired(able(lost(NotReady::LinkDown), Readiness::Ready)).is_empty());
    assert!(desired(able(Readiness::Ready, lost(NotReady::NoReplyPath))).is_empty());
    assert!(desired(BTreeMap::new()).is_empty());
}

#[test]
fn a_draining_pod_with_other_rules_keeps_them() {
    let pods = found(PodBlock::REPLY_PATH, &facts());
    let deliveries = able(Readiness::Ready, Readiness::Ready);
    let mut desired = Desired::default();
    keep_draining(&mut desired, &pods, &deliveries);
    desired.pods[0].draining = false;
    desired.pods[0].reply_path = lost(NotReady::NotPrepared);
    let rules = Arc::clone(&desired.pods[0].rules);
    keep_draining(&mut desired, &pods, &deliveries);
    assert_eq!(desired.pods.len(), 1);
    let pod = &desired.pods[0];
    assert!(pod.draining && Arc::ptr_eq(&pod.rules, &rules));
    assert_eq!(pod.reply_path, Readiness::Ready);
}

fn moment(seconds: u64, packets: u64, flows: u64) -> Moment {
    Moment {
        now: Duration::from_secs(seconds),
        packets,
        flows: BTreeMap::from([(SLOT, flows)]),
    }
}

#[test]
fn a_drain_ends_after_a_minute_without_packets() {
    let mut drains = Drains::default();
    let pods = found(PodBlock::REPLY_PATH, &facts());
    let mut goes_on = |seconds, packets| {
        let moment = moment(seconds, packets, 3);
        !drains.update(pods.clone(), &moment).is_empty()
    };
    let minute = QUIET.as_secs();
    assert!(goes_on(100, 5));
    assert!(goes_on(100 + minute - 1, 5));
    assert!(goes_on(100 + minute, 6));
    assert!(goes_on(100 + 2 * minute - 1, 6));
    assert!(!goes_on(100 + 2 * minute, 6));
    // The removal failed before this reconcile.
    assert!(!goes_on(101 + 2 * minute, 6));
}

#[test]
fn a_drain_ends_at_once_when_no_flow_is_left() {
    let mut drains = Drains::default();
    let pods = found(PodBlock::REPLY_PATH, &facts());
    assert_eq!(drains.update(pods.clone(), &moment(1, 0, 1)).len(), 1);
    assert!(drains.update(pods, &moment(2, 1, 0)).is_empty());
}

#[test]
fn a_pod_that_drains_again_gets_a_new_minute() {
    let mut drains = Drains::default();
    let pods = found(PodBlock::REPLY_PATH, &facts());
    assert_eq!(drains.update(pods.clone(), &moment(0, 0, 1)).len(), 1);
    // A policy redirects to the pod again.
    drains.update(Vec::new(), &moment(10, 0, 1));
    assert_eq!(drains.update(pods, &moment(70, 0, 1)).len(), 1);
}

fn owned(slot: u32, pod: &str) -> Owners {
    let mut installed = Installed::default();
    let v4 = u32::from_be_bytes([10, 0, 0, 5]);
    let word = IndexWord::new(v4, slot, false);
    installed.index.insert(index_position(v4), word);
    installed.pods.insert(slot, label(pod, VETH));
    Owners::new(&installed)
}

#[test]
fn an_entry_is_stale_when_its_address_has_no_slot_or_another_one() {
    let own = Address::v4([10, 0, 0, 5]);
    let none = BTreeSet::new();
    let owners = owned(SLOT, "server-0");
    assert!(!owners.is_stale(own, Some(SLOT), &none));
    assert!(owners.is_stale(own, Some(SLOT + 1), &none));
    assert!(!owners.is_stale(own, None, &none));
    assert!(owners.is_stale(Address::v4([10, 0, 0, 6]), None, &none));
    assert!(owners.is_stale(own, Some(SLOT), &BTreeSet::from([own])));
}

#[test]
fn an_address_is_lost_when_another_pod_or_none_owns_it() {
    let before = owned(SLOT, "server-0");
    let lost = |now: &Owners| now.lost_since(&before).len();
    assert_eq!(lost(&before.clone()), 0);
    assert_eq!(lost(&owned(SLOT + 1, "server-0")), 1);
    assert_eq!(lost(&owned(SLOT, "server-1")), 1);
    assert_eq!(lost(&Owners::default()), 1);
    assert_eq!(before.lost_since(&Owners::default()).len(), 0);
    assert_eq!(before.slot(Address::v4([10, 0, 0, 5])).unwrap(), SLOT);
}

#[test]
fn the_flows_of_a_pod_that_policies_restrict_are_the_stacks_at_once() {
    let installed = installed(PodBlock::REPLY_PATH);
    let found = draining(&installed, &Targets::default(), &facts());
    let restricted = |certain: CertainTraffic| {
        let pod = ("games".to_owned(), "server-0".to_owned());
        found[0].is_restricted(&PodCertainty::from([(pod, Arc::new(certain))]))
    };
    assert!(!found[0].is_restricted(&PodCertainty::new()));
    assert!(!restricted(CertainTraffic::everything()));
    let why = NotCertain {
        policy: PolicyName {
            kind: NETWORK_POLICY,
            namespace: Some("games".into()),
            name: "deny-all".into(),
        },
        reason: NotCertainReason::NotAllowed,
    };
    assert!(restricted(CertainTraffic::nothing(why)));
}

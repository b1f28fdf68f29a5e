//! Addresses that several interfaces carry, or several pods claim: what decides, and what stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use proptest::prelude::*;
use xdp_core::tables::PodBlock;
use xdp_plan::{
    compile::compile,
    desired::Desired,
    facts::{Deliveries, NodeFacts, NotReady, Pair, Readiness},
    installed::{Installed, PodLabel, SlotIdentity},
    pod::Pod,
    policy::{Policy, RuleAction},
    targets::{Holders, Targets, targets_with, wanted},
    testing::{fixture, node},
};

/// The interfaces of the victim and of the others, and the bridge.
const VICTIM: u32 = 10;
const OTHERS: [u32; 2] = [9, 11];
const BRIDGE: u32 = 3;

fn address() -> IpAddr {
    [10, 0, 0, 5].into()
}

fn pod(name: &str) -> Pod {
    Pod {
        uid: format!("uid-{name}"),
        ..fixture::pod("games", name, vec![address()])
    }
}

fn pair(ifindex: u32) -> Pair {
    node::pair(ifindex, vec![address()])
}

fn policies(action: RuleAction) -> Vec<Policy> {
    vec![fixture::policy(
        "games",
        "rules",
        vec![fixture::rule("r", action)],
    )]
}

/// Another interface carries the victim's address, too.
fn contested() -> NodeFacts {
    NodeFacts {
        pairs: vec![pair(OTHERS[0]), pair(VICTIM), pair(OTHERS[1])],
        routes: BTreeMap::from([(address(), BRIDGE)]),
        ..NodeFacts::default()
    }
}

fn holders(pod: &Pod, ifindex: u32, readiness: Readiness) -> Holders {
    let label = PodLabel {
        identity: SlotIdentity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            ifindex,
            mac: [2; 6],
        },
        interface: String::new(),
        addresses: vec![address()],
        readiness,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
    };
    let mut installed = Installed::default();
    installed.pods.insert(1, label);
    Holders::new(&installed)
}

fn find(facts: &NodeFacts, holders: &Holders) -> Targets {
    targets_with(&policies(RuleAction::Redirect), &[pod("victim")], facts, holders)
}

/// The interface that is chosen, whether it is certain, and what is reported.
fn chosen(facts: &NodeFacts, holders: &Holders) -> (u32, bool, Vec<String>) {
    let found = find(facts, holders);
    assert_eq!(found.problems, []);
    assert_eq!(found.targets.len(), 1);
    let notes = found.notes.iter().map(|note| note.message.clone());
    let target = &found.targets[0];
    (target.pair.host.ifindex, target.doubt.is_none(), notes.collect())
}

fn in_doubt() -> Readiness {
    Deliveries::in_doubt("several carry it").redirect
}

#[test]
fn the_nodes_route_decides() {
    let mut facts = contested();
    facts.routes.insert(address(), VICTIM);
    let (interface, certain, notes) = chosen(&facts, &Holders::default());
    assert_eq!((interface, certain), (VICTIM, true));
    assert!(notes[0].contains("the node's route leads there"), "{notes:?}");
    let held = holders(&pod("victim"), OTHERS[0], Readiness::Ready);
    assert_eq!(chosen(&facts, &held).0, VICTIM, "also against the tables");
}

#[test]
fn behind_a_bridge_the_pods_processes_decide() {
    let mut facts = contested();
    let sandbox = BTreeSet::from([VICTIM as i32]);
    facts.sandboxes.insert(pod("victim").uid, sandbox);
    let held = holders(&pod("victim"), OTHERS[0], Readiness::Ready);
    assert_eq!(chosen(&facts, &held).0, VICTIM);
}

#[test]
fn what_is_programmed_stays_when_nothing_else_decides() {
    for readiness in [Readiness::Ready, node_down()] {
        let held = holders(&pod("victim"), VICTIM, readiness);
        let (interface, certain, _) = chosen(&contested(), &held);
        assert_eq!((interface, certain), (VICTIM, true));
    }
}

fn node_down() -> Readiness {
    Readiness::NotReady {
        reason: NotReady::LinkDown,
        message: String::new(),
    }
}

#[test]
fn an_interface_that_is_down_takes_nothing_away() {
    let mut facts = contested();
    facts.pairs[0].pod.up = false;
    facts.pairs[2].host.up = false;
    let (interface, certain, _) = chosen(&facts, &Holders::default());
    assert_eq!((interface, certain), (VICTIM, true));
}

#[test]
fn while_nothing_decides_the_address_is_in_doubt_and_its_interface_stays_the_same() {
    assert_eq!(
        chosen(&contested(), &Holders::default()),
        (OTHERS[0], false, vec![])
    );
    let held = holders(&pod("victim"), VICTIM, in_doubt());
    assert_eq!(chosen(&contested(), &held), (VICTIM, false, vec![]));
}

#[test]
fn the_only_interface_is_in_doubt_while_the_route_leads_to_another_pod() {
    let mut facts = contested();
    for pair in facts
        .pairs
        .iter_mut()
        .filter(|pair| pair.host.ifindex != OTHERS[0])
    {
        pair.addresses.clear();
    }
    assert!(chosen(&facts, &Holders::default()).1, "the route leads to no pod");
    facts.routes.insert(address(), VICTIM);
    assert!(!chosen(&facts, &Holders::default()).1);
}

#[test]
fn a_pod_in_doubt_keeps_its_rules_and_loses_only_redirect() {
    let pods = [pod("victim")];
    let compiled = |action| -> Desired {
        let found = targets_with(&policies(action), &pods, &contested(), &Holders::default());
        // Another pod's readiness at the same interface does not count.
        let ready = Deliveries {
            redirect: Readiness::Ready,
            peer: Readiness::Ready,
            reply_path: Readiness::Ready,
        };
        compile(&found, &BTreeMap::from([(OTHERS[0], ready)]))
    };
    let reason = |readiness: &Readiness| readiness.obstacle();
    for action in [RuleAction::Drop, RuleAction::Redirect] {
        let desired = compiled(action);
        let pod = &desired.pods[0];
        assert_eq!(pod.addresses, [address()]);
        assert_eq!(pod.rules.rules.len(), 1);
        for readiness in [&pod.readiness, &pod.peer, &pod.reply_path] {
            assert_eq!(reason(readiness), Some(NotReady::AddressInDoubt));
        }
    }
    assert_ne!(
        PodBlock::ADDRESS_IN_DOUBT & PodBlock::NOT_READY,
        PodBlock::NOT_READY
    );
}

#[test]
fn of_two_pods_with_one_address_the_programmed_one_keeps_it() {
    let facts = NodeFacts {
        pairs: vec![pair(VICTIM)],
        ..NodeFacts::default()
    };
    let pods = [pod("other"), pod("victim")];
    let held = holders(&pods[1], VICTIM, Readiness::Ready);
    let found = targets_with(&policies(RuleAction::Drop), &pods, &facts, &held);
    assert_eq!(found.targets.len(), 1);
    assert_eq!(found.targets[0].pod.name, "victim");
    assert_eq!(found.problems[0].object, "Pod games/other");
    let mut moved = facts;
    let sandbox = BTreeSet::from([VICTIM as i32]);
    moved.sandboxes.insert(pods[0].uid.clone(), sandbox);
    let found = targets_with(&policies(RuleAction::Drop), &pods, &moved, &held);
    assert_eq!(found.targets[0].pod.name, "other", "its processes are there");
}

#[test]
fn addresses_of_selected_pods_and_of_holders_are_wanted() {
    let arc = |pods: &[Pod]| pods.iter().cloned().map(Into::into).collect::<Vec<_>>();
    let elsewhere = Pod {
        namespace: "elsewhere".to_owned(),
        ..pod("elsewhere")
    };
    let policies: Vec<_> = policies(RuleAction::Drop).into_iter().map(Into::into).collect();
    let claims = |pods: &[Pod], holders: &Holders| wanted(&policies, &arc(pods), holders);
    assert_eq!(
        claims(std::slice::from_ref(&elsewhere), &Holders::default()),
        BTreeMap::new()
    );
    let both = claims(&[elsewhere.clone(), pod("victim")], &Holders::default());
    let uids = ["uid-elsewhere", "uid-victim"].map(str::to_owned);
    assert_eq!(both, BTreeMap::from([(address(), BTreeSet::from(uids))]));
    let held = holders(&pod("victim"), VICTIM, Readiness::Ready);
    let left = claims(&[elsewhere], &held);
    assert_eq!(left[&address()], BTreeSet::from(["uid-elsewhere".to_owned()]));
}

proptest! {
    /// Whatever others add to their interfaces, a pod that is programmed loses nothing: not the address, not
    /// the interface, not Redirect. Its own interface may be down.
    #[test]
    fn nothing_that_others_do_takes_anything_away(
        others in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..4),
        up in any::<bool>(),
        routed in any::<bool>(),
    ) {
        let mut pairs = vec![pair(VICTIM)];
        pairs[0].pod.up = up;
        for ((carries, host_up, pod_up), ifindex) in others.into_iter().zip(20..) {
            let mut other = pair(ifindex);
            (other.host.up, other.pod.up) = (host_up, pod_up);
            other.addresses.retain(|_| carries);
            pairs.push(other);
        }
        let facts = NodeFacts {
            pairs,
            routes: BTreeMap::from([(address(), if routed { VICTIM } else { BRIDGE })]),
            ..NodeFacts::default()
        };
        let held = holders(&pod("victim"), VICTIM, Readiness::Ready);
        let (interface, certain, _) = chosen(&facts, &held);
        prop_assert_eq!((interface, certain), (VICTIM, true));
    }
}

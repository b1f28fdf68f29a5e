//! An agent that is killed between any two changes leaves a state from which the next one gets where it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use xdp_agent::datapath::{Datapath, Outcome};
use xdp_core::tables::{Action, Entry};
use xdp_plan::change::Change;
use xdp_plan::compile::{Desired, DesiredEntry, DesiredPod};
use xdp_plan::diff::diff;
use xdp_plan::facts::Readiness;
use xdp_plan::installed::{Installed, RuleLabel, SlotIdentity};

use crate::bpffs::Bpffs;

/// More rounds than ever needed: one for what is new, one for what had to wait for a removal.
const ROUNDS: usize = 4;

#[test]
fn from_every_prefix_of_a_round_the_next_rounds_reach_the_goal() {
    let bpffs = Bpffs::new();
    let (before, after) = (before(), after());
    let mut prefixes = 0;
    let mut length = 0;
    loop {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        settle(&mut datapath, &before);
        let changes = diff(&after, &datapath.installed().unwrap());
        if length > changes.len() {
            break;
        }
        apply(&mut datapath, &changes[..length]);
        drop(datapath);

        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        settle(&mut datapath, &after);
        assert_eq!(
            shape(&datapath.installed().unwrap()),
            goal(&after),
            "after {length} changes"
        );
        prefixes += 1;
        length += 1;
    }
    assert!(prefixes > 10, "{prefixes} prefixes");
}

#[test]
fn an_agent_that_finds_what_it_wants_writes_nothing() {
    let bpffs = Bpffs::new();
    settle(&mut Datapath::open(&bpffs.pin_dir()).unwrap(), &before());
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let changes = diff(&before(), &datapath.installed().unwrap());
    assert!(changes.is_empty(), "{changes:?}");
}

/// Rounds until nothing is left to do.
fn settle(datapath: &mut Datapath, desired: &Desired) {
    for _ in 0..ROUNDS {
        let changes = diff(desired, &datapath.installed().unwrap());
        if changes.is_empty() {
            return;
        }
        apply(datapath, &changes);
    }
    panic!("still to do: {:?}", diff(desired, &datapath.installed().unwrap()));
}

fn apply(datapath: &mut Datapath, changes: &[Change]) {
    for (change, outcome) in changes.iter().zip(datapath.apply(changes)) {
        assert!(matches!(outcome, Outcome::Applied), "{change:?}: {outcome:?}");
    }
}

/// What each address meets, without the numbers: pod and rules in order, with their names.
type Shape = BTreeMap<IpAddr, (SlotIdentity, Vec<RuleLabel>)>;

fn shape(installed: &Installed) -> (Shape, usize) {
    let mut shape = Shape::new();
    for (address, slot) in &installed.addresses {
        let label = &installed.pods[slot];
        assert_eq!(installed.devices[slot], label.identity.ifindex);
        let block = &installed.blocks[&installed.words[slot].block().unwrap()];
        let rules = block.entries[..block.len as usize].iter();
        let rules = rules.map(|entry| installed.rules[&entry.rule].clone()).collect();
        let address = std::net::Ipv6Addr::from(address.octets()).to_canonical();
        shape.insert(address, (label.identity.clone(), rules));
    }
    (shape, installed.pods.len())
}

fn goal(desired: &Desired) -> (Shape, usize) {
    let mut shape = Shape::new();
    for pod in &desired.pods {
        let rules: Vec<RuleLabel> = pod.entries.iter().map(|entry| (*entry.rule).clone()).collect();
        for address in &pod.addresses {
            shape.insert(*address, (pod.identity.clone(), rules.clone()));
        }
    }
    (shape, desired.pods.len())
}

/// Three pods; two of them share a rule.
fn before() -> Desired {
    desired(vec![
        pod("one", &["10.0.0.1", "2001:db8::1"], &["a", "b"]),
        pod("two", &["10.0.0.2"], &["a"]),
        pod("three", &["10.0.0.3"], &["c"]),
    ])
}

/// One keeps its name and changes all else, two gives its address to a new one, three stays.
fn after() -> Desired {
    desired(vec![
        pod("one", &["10.0.0.9", "2001:db8::1"], &["b", "d", "a"]),
        pod("four", &["10.0.0.2", "10.0.0.1"], &["e"]),
        pod("three", &["10.0.0.3"], &["c"]),
    ])
}

fn desired(pods: Vec<DesiredPod>) -> Desired {
    let entries = pods.iter().flat_map(|pod| &pod.entries);
    let rules: BTreeSet<RuleLabel> = entries.map(|entry| (*entry.rule).clone()).collect();
    Desired {
        rules,
        problems: Vec::new(),
        pods,
    }
}

fn pod(name: &str, addresses: &[&str], rules: &[&str]) -> DesiredPod {
    let entry = |rule: &&str| DesiredEntry {
        entry: Entry {
            action: Action::Redirect as u8,
            ..Entry::default()
        },
        rule: Arc::new(RuleLabel {
            namespace: "games".to_owned(),
            policy: "players".to_owned(),
            rule: (*rule).to_owned(),
        }),
    };
    DesiredPod {
        identity: SlotIdentity {
            namespace: "games".to_owned(),
            pod: name.to_owned(),
            uid: String::new(),
            ifindex: 1,
            mac: [2, 0, 0, 0, 0, name.len() as u8],
        },
        interface: "lo".to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        readiness: Readiness::Ready,
        mtu: 1500,
        entries: rules.iter().map(entry).collect(),
    }
}

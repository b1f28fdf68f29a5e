//! An agent that is killed between any two changes leaves a state from which the next one gets where it
//! should be.

use xdp_agent::datapath::Datapath;
use xdp_plan::{desired::Desired, diff::diff, installed::Installed, programmed::Programmed};

use crate::{
    bpffs::Bpffs,
    judge::apply,
    node::{desired, pod, policy, program},
};

#[test]
fn from_every_prefix_of_the_changes_the_next_reconciles_reach_the_goal() {
    let bpffs = Bpffs::new();
    let (before, after) = (before(), after());
    let mut prefixes = 0;
    let mut length = 0;
    loop {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        program(&mut datapath, &before);
        let changes = diff(&after, &datapath.installed().unwrap());
        if length > changes.len() {
            break;
        }
        apply(&mut datapath, &changes[..length]);
        drop(datapath);

        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        program(&mut datapath, &after);
        assert_reached(&datapath.installed().unwrap(), &after, length);
        prefixes += 1;
        length += 1;
    }
    assert!(prefixes > 10, "{prefixes} prefixes");
}

#[test]
fn an_agent_that_finds_what_it_wants_writes_nothing() {
    let bpffs = Bpffs::new();
    program(&mut Datapath::open(&bpffs.pin_dir()).unwrap(), &before());
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let changes = diff(&before(), &datapath.installed().unwrap());
    assert!(changes.is_empty(), "{changes:?}");
}

/// Every pod has exactly its rules, and no other pod has any.
fn assert_reached(installed: &Installed, goal: &Desired, length: usize) {
    let programmed = Programmed::new(installed);
    for pod in &goal.pods {
        assert!(programmed.holds(pod), "{:?} after {length} changes", pod.identity);
    }
    assert_eq!(installed.pods.len(), goal.pods.len(), "after {length} changes");
}

/// Three pods; two of them share a policy.
fn before() -> Desired {
    desired(
        &[
            pod("one", &["10.0.0.1", "2001:db8::1"]),
            pod("two", &["10.0.0.2"]),
            pod("three", &["10.0.0.3"]),
            policy("a", "one", &[A, B]),
            policy("b", "two", &[A]),
            policy("c", "three", &[B]),
        ]
        .concat(),
    )
}

/// One keeps its name and changes all else, two gives its address to a new one, three stays.
fn after() -> Desired {
    desired(
        &[
            pod("one", &["10.0.0.9", "2001:db8::1"]),
            pod("four", &["10.0.0.2", "10.0.0.1"]),
            pod("three", &["10.0.0.3"]),
            policy("a", "one", &[B, C, A]),
            policy("e", "four", &[A, C]),
            policy("c", "three", &[B]),
        ]
        .concat(),
    )
}

const A: &str = "{name: a, ports: [{protocol: UDP, port: 7777}], action: Redirect}";
const B: &str = "{name: b, from: [{ipBlock: {cidr: 192.0.2.0/24}}], action: Drop}";
const C: &str = "{name: c, ports: [{protocol: TCP, port: 80, endPort: 90}], action: Reject}";

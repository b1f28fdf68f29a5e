//! A packet meets the old rules or the new ones, never some of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use xdp_agent::datapath::{Datapath, Runner};
use xdp_core::tables::SourcesV4;
use xdp_plan::{
    change::{Change, Content},
    desired::Desired,
    diff::diff,
};

use crate::{
    bpffs::Bpffs,
    judge::apply,
    node::{desired, pod, policy, program, udp},
};

const FLIPS: usize = 1_000;
const PACKETS: u64 = 10_000_000;
/// Packets in one call: some milliseconds.
const BATCH: u32 = 20_000;
const RUNNERS: usize = 2;

/// The old rule for it is `old-middle`, the new one `new-high`: the bounds of the one with the rules of the
/// other give another rule.
const SOURCE: [u8; 4] = [10, 0, 0, 200];
const POD: [u8; 4] = [10, 9, 0, 5];
const OLD: [&str; 3] = [
    "{name: old-middle, from: [{ipBlock: {cidr: 10.0.0.0/24}}], action: Drop}",
    "{name: old-low, from: [{ipBlock: {cidr: 0.0.0.0/5}}, {ipBlock: {cidr: 8.0.0.0/7}}], action: Drop}",
    "{name: old-high, action: Drop}",
];
const NEW: [&str; 3] = [
    "{name: new-low, from: [{ipBlock: {cidr: 0.0.0.0/6}}, {ipBlock: {cidr: 4.0.0.0/8}}], action: Drop}",
    "{name: new-middle, from: [{ipBlock: {cidr: 4.0.0.0/6}}, {ipBlock: {cidr: 8.0.0.0/7}}, {ipBlock: {cidr: 10.0.0.0/25}}], action: Drop}",
    "{name: new-high, action: Drop}",
];

/// Old and new, each with the labels of both, so that counters go on.
fn policies() -> [Desired; 2] {
    let [mut old, mut new] = [OLD, NEW].map(|rules| {
        let objects = [pod("a", &["10.9.0.5"]), policy("p", "a", &rules)].concat();
        desired(&objects)
    });
    Arc::make_mut(&mut old.rules).extend(new.rules.iter().cloned());
    Arc::make_mut(&mut new.rules).extend(old.rules.iter().cloned());
    [old, new]
}

/// What became of all packets, by the names of rules.
#[derive(Debug)]
struct Seen {
    packets: u64,
    by_old: u64,
    by_new: u64,
}

impl Seen {
    fn wrong(&self) -> u64 {
        self.packets - self.by_old - self.by_new
    }
}

/// Lets `update` work until it has been called often enough and enough packets have run meanwhile.
fn run(datapath: &mut Datapath, mut update: impl FnMut(&mut Datapath, usize)) -> Seen {
    let runners: Vec<Runner> = (0..RUNNERS)
        .map(|_| Runner::open(datapath.pinned()).unwrap())
        .collect();
    let (done, packets) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for runner in &runners {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    runner.repeat(&udp(SOURCE, POD), BATCH).unwrap();
                    packets.fetch_add(u64::from(BATCH), Ordering::Relaxed);
                }
            });
        }
        let mut flips = 0;
        while flips < FLIPS || packets.load(Ordering::Relaxed) < PACKETS {
            update(datapath, flips);
            flips += 1;
        }
        done.store(true, Ordering::Relaxed);
        println!("{flips} flips");
    });
    let pinned = datapath.pinned();
    let labels = pinned.rule_labels();
    let count = |name: &str| {
        let id = labels.iter().find(|(_, label)| label.rule == name).unwrap().0;
        pinned.rule_counters(*id).unwrap().dropped.packets
    };
    let seen = Seen {
        packets: packets.into_inner(),
        by_old: count("old-middle"),
        by_new: count("new-high"),
    };
    println!("{seen:?}");
    seen
}

#[test]
fn of_ten_million_packets_during_a_thousand_flips_none_meets_a_mixture() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let policies = policies();
    program(&mut datapath, &policies[0]);
    let seen = run(&mut datapath, |datapath, flip| {
        let next = &policies[(flip + 1) % 2];
        let changes = diff(next, &datapath.installed().unwrap());
        assert!(!changes.is_empty());
        apply(datapath, &changes);
    });
    assert_eq!(seen.wrong(), 0, "{seen:?}");
    assert!(seen.by_old > 0 && seen.by_new > 0, "{seen:?}");
}

/// What the test above would see if live blocks were overwritten.
#[test]
fn an_update_in_place_is_caught() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let policies = policies();
    program(&mut datapath, &policies[0]);
    let [(index, old), (_, new)] = policies.each_ref().map(|policy| {
        program(&mut datapath, policy);
        let blocks = datapath.installed().unwrap().blocks;
        let (index, block) = blocks.sources_v4.iter().next().unwrap();
        (index, *block)
    });
    program(&mut datapath, &policies[0]);
    let index = datapath
        .installed()
        .unwrap()
        .blocks
        .sources_v4
        .iter()
        .next()
        .map_or(index, |(index, _)| index);
    let seen = run(&mut datapath, |datapath, flip| {
        let (from, to) = if flip % 2 == 0 { (&old, &new) } else { (&new, &old) };
        let torn = SourcesV4 {
            bounds: to.bounds,
            targets: from.targets,
        };
        let write = |block: SourcesV4| Change::Write {
            index,
            content: Content::SourcesV4(Box::new(block)),
        };
        apply(datapath, &[write(torn), write(*to)]);
    });
    assert!(seen.wrong() > 0, "{seen:?}");
}

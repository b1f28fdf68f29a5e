//! Rate limits on the kernel's own clock.

use std::thread;
use std::time::{Duration, Instant};

use xdp_agent::datapath::{Datapath, Runner};
use xdp_core::tables::RuleCounters;
use xdp_core::verdict::Event;

use crate::bpffs::Bpffs;
use crate::node::{desired, pod, policy, settle, udp};

const POD: [u8; 4] = [10, 0, 0, 5];
const SENDER: [u8; 4] = [192, 0, 2, 1];

fn limited(bpffs: &Bpffs, limit: &str) -> Datapath {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let rule = format!("{{name: limited, action: Pass, rateLimit: {limit}}}");
    let objects = [pod("a", &["10.0.0.5"]), policy("limit", "a", &[&rule])].concat();
    settle(&mut datapath, &desired(&objects));
    datapath
}

fn counters(datapath: &Datapath) -> RuleCounters {
    datapath.pinned().rule_counters(0).unwrap()
}

/// Floods on so many CPUs. How long that took.
fn flood(datapath: &Datapath, cpus: usize, times: u32) -> Duration {
    let runners: Vec<Runner> = (0..cpus)
        .map(|_| Runner::open(datapath.pinned()).unwrap())
        .collect();
    let started = Instant::now();
    thread::scope(|scope| {
        for runner in &runners {
            scope.spawn(|| runner.repeat(&udp(SENDER, POD), times).unwrap());
        }
    });
    started.elapsed()
}

/// The kernel waits for a grace period before the first packet and after the last one.
const BEFORE_AND_AFTER: f64 = 0.05;

#[test]
fn a_limit_is_kept_within_a_hundredth_on_one_and_on_two_cpus() {
    for (rate, cpus) in [
        (10_000_u32, 1),
        (100_000, 1),
        (1_000_000, 1),
        (100_000, 2),
        (1_000_000, 2),
    ] {
        let bpffs = Bpffs::new();
        // What a second of pauses would lose is saved up.
        let limit = format!("{{packetsPerSecond: {rate}, burst: {rate}}}");
        let datapath = limited(&bpffs, &limit);
        let times = 10_000_000;
        let took = flood(&datapath, cpus, times).as_secs_f64();
        let counters = counters(&datapath);
        let rate = f64::from(rate);
        let passed = f64::from(counters.passed.packets as u32) - rate;
        let due = rate * took;
        println!(
            "{rate} packets/s on {cpus} CPUs: {passed} packets passed besides the burst, {due:.0} were due, {:+.2} %",
            (passed / due - 1.0) * 100.0
        );
        assert_eq!(
            counters.passed.packets + counters.limited.packets,
            u64::from(times) * cpus as u64
        );
        assert!(
            (passed - due).abs() <= due / 100.0 + rate * BEFORE_AND_AFTER,
            "{passed} of {due}"
        );
    }
}

#[test]
fn each_source_has_a_limit_of_its_own() {
    let bpffs = Bpffs::new();
    let datapath = limited(&bpffs, "{packetsPerSecond: 1, burst: 3, per: Source}");
    for source in 1..=100 {
        for _ in 0..5 {
            datapath.test_run(&udp([192, 0, 2, source], POD)).unwrap();
        }
    }
    let counters = counters(&datapath);
    let crowded = datapath.pinned().events().unwrap();
    assert_eq!(crowded.get(&Event::CrowdedSources.code()), None);
    // Three of five, and what came in while the test ran.
    assert!((300..=310).contains(&counters.passed.packets), "{counters:?}");
}

#[test]
fn sources_beyond_the_tables_room_share_the_rules_limit_and_are_counted() {
    let bpffs = Bpffs::new();
    let datapath = limited(&bpffs, "{packetsPerSecond: 1, burst: 1, per: Source}");
    // Three times as many as there are ways.
    for source in 0_u32..200_000 {
        let [_, b, c, d] = source.to_be_bytes();
        datapath.test_run(&udp([172, 16 + b, c, d], POD)).unwrap();
    }
    let counters = counters(&datapath);
    let crowded = datapath.pinned().events().unwrap()[&Event::CrowdedSources.code()].packets;
    println!("{crowded} of 200000 sources were crowded out: {counters:?}");
    assert!(crowded > 100_000, "{crowded}");
    assert!(counters.passed.packets <= 200_000 - crowded + 60, "{counters:?}");
}

#[test]
fn a_new_limit_does_not_inherit_the_debts_of_an_old_one() {
    let bpffs = Bpffs::new();
    let mut datapath = limited(&bpffs, "{packetsPerSecond: 1, burst: 1000}");
    for _ in 0..1000 {
        datapath.test_run(&udp(SENDER, POD)).unwrap();
    }
    let rule = "{name: limited, action: Pass, rateLimit: {packetsPerSecond: 1000, burst: 10}}";
    let objects = [pod("a", &["10.0.0.5"]), policy("limit", "a", &[rule])].concat();
    settle(&mut datapath, &desired(&objects));
    let before = counters(&datapath).passed.packets;
    datapath.test_run(&udp(SENDER, POD)).unwrap();
    assert_eq!(counters(&datapath).passed.packets, before + 1);
}

//! What floods at one namespace cost another.

use std::time::{Duration, Instant};

use xdp_agent::datapath::{Datapath, Settings};
use xdp_core::events::Event;
use xdp_plan::diff::diff;

use crate::{
    bpffs::Bpffs,
    judge::{XDP_DROP, XDP_TX},
    node::{desired, in_namespace, pod, policy, program, udp},
};

const POD: [u8; 4] = [10, 0, 0, 5];
const SENDER: [u8; 4] = [192, 0, 2, 1];

/// A namespace with a pod, and a rule that limits its sources.
fn tenant(namespace: &str, addresses: &[&str], limit: &str) -> String {
    let rule = format!("{{name: limited, action: Pass, rateLimit: {limit}}}");
    in_namespace(
        namespace,
        &[pod("a", addresses), policy("limit", "a", &[&rule])].concat(),
    )
}

/// Two namespaces, of which one is under a flood.
fn tenants() -> [String; 2] {
    let hostile = tenant(
        "hostile",
        &["10.0.0.6", "fd00::6"],
        "{packetsPerSecond: 1, burst: 60, per: Source}",
    );
    let honest = tenant(
        "games",
        &["10.0.0.5", "fd00::5"],
        "{packetsPerSecond: 10, burst: 10, per: Source}",
    );
    [hostile, honest]
}

/// An Ethernet frame with an IPv6 UDP packet from a network of its own.
fn udp_v6(network: u8, source: u32, pod: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 16, 17, 64]);
    frame.extend([0x20, 1, 0xd, network]);
    frame.extend(source.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0, 0, 0, 9]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, pod]);
    frame.extend([0x9c, 0x40, 0x1e, 0x61, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

fn crowded(datapath: &Datapath) -> u64 {
    let events = datapath.pinned().events().unwrap();
    let count = events.get(&Event::SourceLimitTableFull.code());
    count.map_or(0, |count| count.packets)
}

/// Forged sources at the hostile namespace's own pod. Two packets keep a place for two seconds.
fn flood_of_sources(datapath: &Datapath) {
    for source in 0..65_536_u32 {
        let [_, b, c, d] = source.to_be_bytes();
        for frame in [udp([172, 16 + b, c, d], [10, 0, 0, 6]), udp_v6(1, source, 6)] {
            datapath.test_run(&frame).unwrap();
            datapath.test_run(&frame).unwrap();
        }
    }
}

/// Sources that have sent nothing before. Returns how many packets found no place.
fn newcomers(datapath: &Datapath, network: u8) -> u64 {
    let before = crowded(datapath);
    for source in 0..200_u32 {
        let ran = datapath
            .test_run(&udp([198, 51, network, source as u8], POD))
            .unwrap();
        assert_ne!(ran.action, XDP_DROP, "{source}");
        let ran = datapath.test_run(&udp_v6(network, source, 5)).unwrap();
        assert_ne!(ran.action, XDP_DROP, "{source}");
    }
    crowded(datapath) - before
}

#[test]
fn a_flood_of_sources_at_one_namespace_takes_no_place_of_another_also_after_a_restart() {
    let bpffs = Bpffs::new();
    let objects = tenants().concat();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    program(&mut datapath, &desired(&objects));
    flood_of_sources(&datapath);
    assert!(crowded(&datapath) > 0);
    assert_eq!(newcomers(&datapath, 100), 0);
    drop(datapath);

    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let installed = datapath.installed().unwrap();
    assert_eq!(diff(&desired(&objects), &installed), []);
    assert_eq!(installed.shares.len(), 2);
    program(&mut datapath, &desired(&objects));
    assert_eq!(newcomers(&datapath, 101), 0);
}

#[test]
fn a_namespace_that_comes_during_a_flood_has_its_part_at_once() {
    let bpffs = Bpffs::new();
    let [hostile, honest] = tenants();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    program(&mut datapath, &desired(&hostile));
    flood_of_sources(&datapath);
    assert!(crowded(&datapath) > 0);
    program(&mut datapath, &desired(&[hostile, honest].concat()));
    assert_eq!(newcomers(&datapath, 100), 0);
}

#[test]
fn an_ipv6_network_of_64_bits_has_one_limit() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let objects = tenant(
        "games",
        &["fd00::5"],
        "{packetsPerSecond: 1, burst: 3, per: Source}",
    );
    program(&mut datapath, &desired(&objects));
    for host in 0..100 {
        let mut frame = udp_v6(1, 7, 5);
        frame[37] = host;
        datapath.test_run(&frame).unwrap();
    }
    let passed = datapath.pinned().rule_counters(0).unwrap().passed.packets;
    assert!((3..=13).contains(&passed), "{passed}");
}

#[test]
fn a_flood_of_rejected_packets_at_one_namespace_does_not_silence_another() {
    let bpffs = Bpffs::new();
    let settings = Settings {
        rejects_per_second: 400,
        ..Settings::default()
    };
    let mut datapath = Datapath::open_with(&bpffs.pin_dir(), settings).unwrap();
    let tenant = |namespace, address| {
        let rules = policy("refuse", "a", &["{name: all, action: Reject}"]);
        in_namespace(namespace, &[pod("a", &[address]), rules].concat())
    };
    let objects = [tenant("games", "10.0.0.5"), tenant("hostile", "10.0.0.6")].concat();
    program(&mut datapath, &desired(&objects));
    let started = Instant::now();
    let (mut sent, mut silent) = (0_u32, 0);
    while started.elapsed() < Duration::from_secs(3) {
        for _ in 0..50 {
            datapath.test_run(&udp(SENDER, [10, 0, 0, 6])).unwrap();
        }
        // Half of its quarter of the budget.
        if started.elapsed() > Duration::from_millis(20) * sent {
            sent += 1;
            silent += u32::from(datapath.test_run(&udp(SENDER, POD)).unwrap().action != XDP_TX);
        }
    }
    assert_eq!(silent, 0, "of {sent}");
    assert!(sent > 20, "{sent}");
    let events = datapath.pinned().events().unwrap();
    let dropped = events[&Event::RejectLimited.code()].packets;
    let rejected: u64 = [0, 1]
        .map(|rule| datapath.pinned().rule_counters(rule).unwrap().rejected.packets)
        .iter()
        .sum();
    let most = 400.0 * (started.elapsed().as_secs_f64() + 1.0) + 1.0;
    assert!(
        f64::from((rejected - dropped) as u32) <= most,
        "{rejected} - {dropped}"
    );
}

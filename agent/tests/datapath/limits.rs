//! Rate limits on the kernel's own clock.

use std::{
    thread,
    time::{Duration, Instant},
};

use xdp_agent::datapath::{Datapath, Runner};
use xdp_core::{
    events::Event,
    tables::{LIMIT_SETS, RuleCounters, WAYS},
};

use crate::{
    bpffs::Bpffs,
    judge::XDP_DROP,
    node::{desired, pod, policy, program, udp},
};

const POD: [u8; 4] = [10, 0, 0, 5];
const SENDER: [u8; 4] = [192, 0, 2, 1];

fn limited(bpffs: &Bpffs, limit: &str) -> Datapath {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let rule = format!("{{name: limited, action: Pass, rateLimit: {limit}}}");
    let objects = [pod("a", &["10.0.0.5"]), policy("limit", "a", &[&rule])].concat();
    program(&mut datapath, &desired(&objects));
    datapath
}

fn counters(datapath: &Datapath) -> RuleCounters {
    datapath.pinned().rule_counters(0).unwrap()
}

/// A limit under a flood. Packets per second times time is what is due; when exactly the program looked at
/// its clock is not known, so there is a least and a most.
struct Flood {
    /// Besides the burst.
    passed: f64,
    /// Until the last packet that did not pass: nothing was saved up then.
    least: f64,
    /// For all the time there was.
    most: f64,
    /// For the time that the program ran, as the kernel measured it.
    ran: f64,
}

/// What one thread saw.
struct Seen {
    /// Before and after its first call.
    first: [Instant; 2],
    /// Before its last call whose packet did not pass.
    last_limited: Option<Instant>,
    end: Instant,
    /// How much longer than [`SAVED`] it was away.
    paused: Duration,
    /// In the program.
    ran: Duration,
}

/// The burst is a second's: what a longer pause would bring is lost. A little may be left from before the
/// pause.
const SAVED: Duration = Duration::from_millis(900);

/// Threads that flood in such calls. One call for many packets is faster, but the kernel waits for grace
/// periods before and after it.
fn flood(rate: u32, threads: usize, (calls, each): (u32, u32)) -> Flood {
    let bpffs = Bpffs::new();
    // What a second of pauses would lose is saved up.
    let burst = rate;
    let datapath = limited(&bpffs, &format!("{{packetsPerSecond: {rate}, burst: {burst}}}"));
    let runners: Vec<Runner> = (0..threads)
        .map(|_| Runner::open(datapath.pinned()).unwrap())
        .collect();
    let seen: Vec<Seen> = thread::scope(|scope| {
        let flooding = runners
            .iter()
            .map(|runner| scope.spawn(|| flood_by(runner, calls, each)));
        let flooding: Vec<_> = flooding.collect();
        flooding.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let counters = counters(&datapath);
    let sent = u64::from(calls) * u64::from(each) * threads as u64;
    assert_eq!(counters.passed.packets + counters.limited.packets, sent);
    let passed = f64::from(counters.passed.packets as u32) - f64::from(burst);
    let flood = Flood::new(rate, passed, &seen);
    let Flood { least, most, ran, .. } = flood;
    println!(
        "{rate} packets/s, {threads} threads: {passed} passed besides the burst, {least:.1} to {most:.1} were due, \
         {ran:.1} in the program's time"
    );
    flood
}

impl Flood {
    fn new(rate: u32, passed: f64, seen: &[Seen]) -> Self {
        let due = |time: Duration| f64::from(rate) * time.as_secs_f64();
        let [begin, first] = [0, 1].map(|call| seen.iter().map(|one| one.first[call]).min().unwrap());
        let limited = seen.iter().filter_map(|one| one.last_limited).max();
        let end = seen.iter().map(|one| one.end).max().unwrap();
        let lost: Duration = seen.iter().map(|one| one.paused).sum();
        Self {
            passed,
            // When nothing was limited, the most tells.
            least: due(limited.unwrap_or(first).duration_since(first)) - due(lost),
            most: due(end.duration_since(begin)),
            ran: due(seen.iter().map(|one| one.ran).max().unwrap()),
        }
    }
}

fn flood_by(runner: &Runner, calls: u32, each: u32) -> Seen {
    let frame = udp(SENDER, POD);
    let (mut first, mut last_limited) = (None, None);
    let (mut paused, mut ran) = (Duration::ZERO, Duration::ZERO);
    let mut previous = Instant::now();
    for _ in 0..calls {
        let before = Instant::now();
        paused += before.duration_since(previous).saturating_sub(SAVED);
        previous = before;
        let repeated = runner.repeat(&frame, each).unwrap();
        first.get_or_insert_with(|| [before, Instant::now()]);
        ran += repeated.each * each;
        if repeated.action == XDP_DROP {
            last_limited = Some(before);
        }
    }
    Seen {
        first: first.expect("there are calls"),
        last_limited,
        end: Instant::now(),
        paused,
        ran,
    }
}

#[test]
fn a_limit_is_kept_within_a_hundredth_on_one_and_on_two_cpus() {
    for (rate, threads) in [(1_000, 1), (10_000, 1), (10_000, 2)] {
        let Flood {
            passed, least, most, ..
        } = flood(rate, threads, (600_000, 1));
        assert!(passed >= least * 0.99 - 1.0, "{passed} of {least}");
        assert!(passed <= most * 1.01 + 1.0, "{passed} of {most}");
    }
}

/// As above, but for what happens before the first packet and after the last one.
#[test]
fn a_limit_of_a_million_packets_per_second_is_exact() {
    for threads in [1, 2] {
        let Flood {
            passed, most, ran, ..
        } = flood(1_000_000, threads, (1, 20_000_000));
        assert!(passed <= most * 1.01, "{passed} of {most}");
        // Threads start late and are interrupted: how long that takes says nothing about the limit. What came
        // due in an interruption right before the end could not be spent.
        assert!(passed >= ran * 0.98 - 50_000.0, "{passed} of {ran}");
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
    assert_eq!(crowded.get(&Event::SourceLimitTableFull.code()), None);
    // Three of five, and what came in while the test ran.
    assert!((300..=310).contains(&counters.passed.packets), "{counters:?}");
}

#[test]
fn sources_beyond_the_tables_room_share_the_rules_limit_and_are_counted() {
    let bpffs = Bpffs::new();
    let datapath = limited(&bpffs, "{packetsPerSecond: 1, burst: 1, per: Source}");
    let started = Instant::now();
    // Three times as many as there are ways.
    for source in 0_u32..200_000 {
        let [_, b, c, d] = source.to_be_bytes();
        datapath.test_run(&udp([172, 16 + b, c, d], POD)).unwrap();
    }
    let counters = counters(&datapath);
    let crowded = datapath.pinned().events().unwrap()[&Event::SourceLimitTableFull.code()].packets;
    println!("{crowded} of 200000 sources were crowded out: {counters:?}");
    assert!(crowded > 0, "{counters:?}");
    // A way is free again after a second.
    let seconds = started.elapsed().as_secs() + 2;
    let ways = u64::from(LIMIT_SETS) * WAYS as u64;
    assert!(counters.passed.packets <= (ways + 1) * seconds, "{counters:?}");
    assert_eq!(counters.passed.packets + counters.limited.packets, 200_000);
}

#[test]
fn a_new_limit_does_not_inherit_the_debts_of_an_old_one() {
    let bpffs = Bpffs::new();
    let mut datapath = limited(&bpffs, "{packetsPerSecond: 1, burst: 60}");
    for _ in 0..60 {
        datapath.test_run(&udp(SENDER, POD)).unwrap();
    }
    let rule = "{name: limited, action: Pass, rateLimit: {packetsPerSecond: 1000, burst: 10}}";
    let objects = [pod("a", &["10.0.0.5"]), policy("limit", "a", &[rule])].concat();
    program(&mut datapath, &desired(&objects));
    let before = counters(&datapath).passed.packets;
    datapath.test_run(&udp(SENDER, POD)).unwrap();
    assert_eq!(counters(&datapath).passed.packets, before + 1);
}

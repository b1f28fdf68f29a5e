//! A scrape with as many rules as a node can have.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Instant,
};

use xdp_agent::{
    datapath::Datapath,
    report::metrics::{AgentMetrics, KernelMetrics, RuleLimits, registry},
};
use xdp_client::metrics::{Format, encode};
use xdp_plan::{
    change::{Change, ChangeResult},
    installed::RuleLabel,
};

use crate::bpffs::Bpffs;

const RULES: u32 = 32_000;
/// Packets and bytes of eight actions.
const SERIES: usize = 16;
/// Memory that a scrape takes in addition to what the agent has, in KiB.
const MEMORY: u64 = 8 << 10;

/// Opens tables with rules in eight namespaces. All names are as long as they can be.
fn tables(pin_dir: &Path) -> Datapath {
    let mut datapath = Datapath::open(pin_dir).unwrap();
    let label = |rule: u32| RuleLabel {
        namespace: format!("{:n>63}", rule % 8),
        policy: format!("{:p>253}", rule / 50),
        rule: format!("{rule:r>63}"),
    };
    let rules: Vec<u32> = (0..RULES).collect();
    // In small parts, so that what is freed afterwards does not hide what a scrape takes.
    for part in rules.chunks(64) {
        let set = |rule: &u32| Change::SetRuleLabel {
            rule: *rule,
            label: Arc::new(label(*rule)),
        };
        let outcomes = datapath.apply(&part.iter().map(set).collect::<Vec<_>>());
        let mut outcomes = outcomes.iter();
        assert!(outcomes.all(|outcome| matches!(outcome, ChangeResult::Applied)));
    }
    datapath
}

/// The memory of this process that only it has, in KiB: without the tables, which the agent has anyway.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    resident.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

/// Follows the memory of this process on a thread, until it is dropped.
struct Watch {
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start() -> Self {
        let (most, stop) = (
            Arc::new(AtomicU64::new(memory())),
            Arc::new(AtomicBool::new(false)),
        );
        let (peak, ended) = (Arc::clone(&most), Arc::clone(&stop));
        let follow = move || {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(memory(), Ordering::Relaxed);
            }
        };
        Self {
            most,
            stop,
            thread: Some(thread::spawn(follow)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Counts series. Holds as much text as the server does.
#[derive(Default)]
struct Series {
    chunk: String,
    found: usize,
    bytes: usize,
}

impl fmt::Write for Series {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() >= 64 << 10 {
            self.take();
        }
        Ok(())
    }
}

impl Series {
    fn take(&mut self) {
        // The last label of a series.
        self.found += self.chunk.matches("\",action=\"").count();
        self.bytes += self.chunk.len();
        self.chunk.clear();
    }
}

/// Scrapes, and returns the number of series of rules.
fn scrape(pin_dir: &Path, limits: RuleLimits) -> usize {
    let started = Instant::now();
    let kernel = KernelMetrics::read(pin_dir, limits).unwrap();
    let read = started.elapsed();
    let registry = registry(&AgentMetrics::default(), Some(kernel));
    let mut series = Series::default();
    encode(&registry, Format::Classic, &mut series).unwrap();
    series.take();
    let written = started.elapsed().saturating_sub(read);
    let (names, found, bytes) = (limits.total, series.found, series.bytes);
    println!("{names} names: {found} series, {bytes} bytes, read in {read:?}, written in {written:?}");
    found
}

#[test]
fn a_scrape_of_thirty_two_thousand_rules_takes_little_memory() {
    let bpffs = Bpffs::new();
    // It has the labels while it lives, as the agent does.
    let _datapath = tables(&bpffs.pin_dir());
    let before = memory();
    for names in [4096, RULES as usize] {
        let limits = RuleLimits {
            total: names,
            per_namespace: names,
            rule_label: true,
        };
        let watch = Watch::start();
        assert_eq!(scrape(&bpffs.pin_dir(), limits), SERIES * names);
        let taken = watch.most.load(Ordering::Relaxed).saturating_sub(before);
        drop(watch);
        println!("{taken} KiB");
        assert!(taken <= MEMORY, "{taken} KiB");
    }
}

//! Sizes and instruction counts, which do not depend on the load of the machine.

use std::time::Instant;

use xdp_agent::datapath::{Datapath, Explainer};
use xdp_plan::{
    diff::diff,
    facts::Readiness,
    testing::{
        node::{pair, plan},
        workload,
    },
};

use crate::{bpffs::Bpffs, judge::apply, node::DEVICE};

/// Far below the verifier's limit of a million: a kernel with a stricter verifier still accepts the programs.
const MAX_INSTRUCTIONS: u32 = 50_000;
/// Compiled, without counters and labels.
const MAX_BYTES_PER_RULE: usize = 256;
const PODS: usize = 110;
const RULES: usize = 100;

/// Prints the duration of each step.
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    fn lap(&mut self, step: &str) {
        println!("{step} in {:?}", self.0.elapsed());
        self.0 = Instant::now();
    }
}

#[test]
fn the_verifier_processes_few_instructions_of_every_program() {
    let bpffs = Bpffs::new();
    let started = Instant::now();
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    println!("opened in {:?}", started.elapsed());
    let mut programs = datapath.program_stats().unwrap();
    programs.push(Explainer::open(datapath.pinned()).unwrap().stats().unwrap());
    for program in programs {
        println!("{program:?}");
        assert!(
            program.verified_instructions.unwrap() <= MAX_INSTRUCTIONS,
            "{program:?}"
        );
    }
    let maps = datapath.pinned().memory().unwrap();
    println!("{} bytes of maps: {maps:?}", maps.values().sum::<u64>());
}

#[test]
fn eleven_thousand_rules_fit_and_are_small() {
    let bpffs = Bpffs::new();
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let (policies, pods) = workload::node(PODS, RULES);
    let pairs = (0..PODS)
        .map(|index| pair(DEVICE, vec![workload::address(index)]))
        .collect();
    let mut clock = Clock::default();
    let desired = plan(&policies, &pods, pairs, true);
    clock.lap("compiled");
    let changes = diff(&desired, &datapath.installed().unwrap());
    clock.lap("linked");
    apply(&mut datapath, &changes);
    clock.lap("applied");
    let installed = datapath.installed().unwrap();
    clock.lap("read back");
    assert_eq!(diff(&desired, &installed), Vec::new());
    clock.lap("compared");
    datapath.installed().unwrap();
    clock.lap("read again");
    println!("{} changes", changes.len());
    let bytes: usize = desired.pods.iter().map(|pod| pod.rules.bytes()).sum();
    println!("{} bytes per rule", bytes / (PODS * RULES));
    assert!(desired.pods.iter().all(|pod| pod.readiness == Readiness::Ready));
    assert!(bytes <= MAX_BYTES_PER_RULE * PODS * RULES, "{bytes}");
}

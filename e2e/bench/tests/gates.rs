//! Bounds for programs and tables, with the kernel's numbers for the loaded object, which do not depend on
//! the machine's load.
//!
//! A bound is the current value plus a tenth. A change that needs more raises it here, with the reason.
#![expect(clippy::print_stdout, reason = "helpers print what they measured")]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails the test")]

use std::{collections::BTreeMap, sync::OnceLock};

use xdp_bench::{
    tables,
    verifier::{VerifiedProgram, load_programs},
};
use xdp_lab::Lab;

/// Upper bounds of a program.
struct Bound {
    name: &'static str,
    /// Instructions after the kernel's rewriting, which inlines lookups: a newer kernel may inline more.
    instructions: u32,
    verified: u32,
    /// Stack, with the frame size of the oldest kernels.
    stack: u32,
}

// `xdp_nic` and `pod_out` have more verified instructions than others: parsing, rules, flows, ICMP errors
// with quoted flows, limits and rejections are global functions that the verifier checks once each. The
// programs of pods and NICs also decide whose a packet is, and which connections a pod opened. They count
// what a pod's flows use of their shares, and limit sources and answers by namespace.
const BOUNDS: [Bound; 10] = [
    bound("xdp_nic", 11_620, 42_255, 493),
    bound("xdp_explain", 2850, 15_080, 317),
    bound("pod_reader", 105, 116, 36),
    bound("nic_peer", 49, 47, 36),
    bound("pod_out", 6220, 41_940, 512),
    bound("pod_in", 2495, 15_490, 247),
    bound("nic_out", 4150, 16_540, 247),
    bound("redirect_err", 75, 66, 36),
    bound("devmap_xmit", 113, 116, 71),
    bound("exception", 106, 108, 71),
];

/// The verifier's limit for one call chain.
const MOST_STACK: u32 = 512;
/// Maximum of machine code per instruction; five bytes are usual. Machine code depends on what the kernel
/// inlines and on the mitigations of the CPU (return thunks, fences), so this bound does not detect small
/// changes.
const BYTES_FOR_AN_INSTRUCTION: u32 = 10;
/// Memory of all maps in MB, as the kernel accounts it, with the default number of flows, on two CPUs: some
/// maps are per CPU, see below.
const MEGABYTES: f64 = 83.0;

const fn bound(name: &'static str, instructions: u32, verified: u32, stack: u32) -> Bound {
    Bound {
        name,
        instructions,
        verified,
        stack,
    }
}

fn programs() -> &'static BTreeMap<String, VerifiedProgram> {
    static PROGRAMS: OnceLock<BTreeMap<String, VerifiedProgram>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let lab = Lab::new().unwrap();
        let all = load_programs(&lab.pin_dir()).unwrap();
        all.into_iter().map(|one| (one.name.clone(), one)).collect()
    })
}

/// Compares every program with one kind of bound.
fn check(what: &str, value: impl Fn(&VerifiedProgram) -> u32, most: impl Fn(&Bound) -> u32, why: &str) {
    let mut above = Vec::new();
    for bound in &BOUNDS {
        let (found, most) = (value(&programs()[bound.name]), most(bound));
        let line = format!("{}: {found} {what}, at most {most}", bound.name);
        println!("{line}");
        above.extend((found > most).then_some(line));
    }
    assert!(above.is_empty(), "{why}:\n{}", above.join("\n"));
}

#[test]
fn every_program_of_the_object_has_bounds() {
    let mut bounded: Vec<&str> = BOUNDS.iter().map(|bound| bound.name).collect();
    bounded.sort_unstable();
    let there: Vec<&String> = programs().keys().collect();
    assert_eq!(bounded, there);
}

#[test]
fn the_verifier_processes_few_instructions() {
    check(
        "instructions verified",
        |one| one.verified,
        |bound| bound.verified,
        "loading takes longer, and other kernels' verifiers come closer to their limit of a million",
    );
}

#[test]
fn programs_stay_short() {
    check(
        "instructions",
        |one| one.instructions,
        |bound| bound.instructions,
        "every packet executes instructions, and all of them use the instruction cache",
    );
}

#[test]
fn stacks_stay_shallow() {
    check(
        "bytes of stack",
        |one| one.stack,
        |bound| bound.stack.min(MOST_STACK),
        "the verifier allows 512 bytes for a call chain, and other kernels spill more registers than this one",
    );
}

#[test]
fn machine_code_has_the_size_that_its_instructions_suggest() {
    for one in programs().values() {
        let most = one.instructions * BYTES_FOR_AN_INSTRUCTION;
        println!("{}: {} bytes of machine code", one.name, one.machine_code);
        assert!(
            one.machine_code > 0,
            "{} is interpreted: no JIT compiler",
            one.name
        );
        assert!(
            one.machine_code <= most,
            "{}: {} bytes of machine code for {} instructions: more than any mitigation explains",
            one.name,
            one.machine_code,
            one.instructions
        );
    }
}

#[test]
fn maps_stay_within_their_memory_bound() {
    let lab = Lab::new().unwrap();
    load_programs(&lab.pin_dir().join("abi/maps")).unwrap();
    let maps = tables::read(&lab.pin_dir()).unwrap();
    assert!(maps.len() > 10, "{maps:?}");
    // Per-CPU maps are mainly the counters of rules.
    let cpus = f64::from(u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
    let each = maps
        .iter()
        .filter(|map| map.name == "RULE_COUNTERS" || map.name == "DELIVERED");
    let each: f64 = each.map(|map| map.memory).sum();
    let all: f64 = maps.iter().map(|map| map.memory).sum();
    let with_two = (all - each + each * 2.0 / cpus) / 1e6;
    println!("{with_two:.1} MB of maps");
    assert!(
        with_two <= MEGABYTES,
        "{with_two:.1} MB of maps, at most {MEGABYTES}: they are allocated once, on every node, whatever is in use: {maps:#?}"
    );
}

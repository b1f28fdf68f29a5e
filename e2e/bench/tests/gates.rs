//! What a program and the tables cost, in numbers that no busy machine changes: those of the loaded object, by the kernel.
//!
//! A bound is what there is now and a tenth, so that growth is somebody's decision: who needs more raises it here, and
//! says why.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::{collections::BTreeMap, sync::OnceLock};

use xdp_bench::{
    tables,
    verifier::{VerifiedProgram, load_programs},
};
use xdp_lab::Lab;

/// The most that a program may take.
struct Bound {
    name: &'static str,
    /// After the kernel's rewriting, which inlines look-ups: a newer kernel may inline more.
    instructions: u32,
    verified: u32,
    /// In frames of the size that the oldest kernels make of them.
    stack: u32,
}

// `xdp_nic` and `pod_out` verify more than others: parsing, rules, flows, errors of ICMP that quote flows, limits and
// answers are pieces that the verifier looks at once each.
const BOUNDS: [Bound; 10] = [
    bound("xdp_nic", 8630, 25_780, 387),
    bound("xdp_explain", 2215, 8750, 176),
    bound("pod_reader", 50, 53, 36),
    bound("nic_peer", 49, 47, 36),
    bound("pod_out", 3868, 21_330, 422),
    bound("pod_in", 2003, 7560, 176),
    bound("nic_out", 1964, 7990, 246),
    bound("redirect_err", 75, 66, 36),
    bound("devmap_xmit", 113, 116, 71),
    bound("exception", 106, 108, 71),
];

/// The verifier's own, of one chain of calls.
const MOST_STACK: u32 = 512;
/// Machine code differs between kernels (what they inline) and CPUs (mitigations: a return thunk here, a fence there),
/// so this is no measure of small changes: as much as ten bytes for every instruction, where five are usual.
const BYTES_FOR_AN_INSTRUCTION: u32 = 10;
/// All maps together, in MB, by the kernel's accounts, with room for as many flows as there is without being told, on two CPUs:
/// some are for each CPU, see below.
const MEGABYTES: f64 = 76.0;

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

/// Every program against its bound of one kind.
fn check(what: &str, value: impl Fn(&VerifiedProgram) -> u32, most: impl Fn(&Bound) -> u32, why: &str) {
    for bound in &BOUNDS {
        let (found, most) = (value(&programs()[bound.name]), most(bound));
        println!("{}: {found} {what}, at most {most}", bound.name);
        assert!(
            found <= most,
            "{}: {found} {what}, at most {most}: {why}",
            bound.name
        );
    }
}

#[test]
fn every_program_of_the_object_has_bounds() {
    let mut bounded: Vec<&str> = BOUNDS.iter().map(|bound| bound.name).collect();
    bounded.sort_unstable();
    let there: Vec<&String> = programs().keys().collect();
    assert_eq!(bounded, there);
}

#[test]
fn the_verifier_walks_through_few_instructions() {
    check(
        "instructions verified",
        |one| one.verified,
        |bound| bound.verified,
        "loading takes longer, and kernels whose verifier is more thorough come closer to their limit of a million",
    );
}

#[test]
fn programs_stay_short() {
    check(
        "instructions",
        |one| one.instructions,
        |bound| bound.instructions,
        "every packet pays for instructions on its way, and all of them for the space in the instruction cache",
    );
}

#[test]
fn stacks_stay_shallow() {
    check(
        "bytes of stack",
        |one| one.stack,
        |bound| bound.stack.min(MOST_STACK),
        "the verifier takes 512 bytes for a chain of calls, and other kernels spill more registers than this one",
    );
}

#[test]
fn machine_code_is_of_the_size_that_its_instructions_suggest() {
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
fn maps_take_the_memory_that_was_decided_on() {
    let lab = Lab::new().unwrap();
    load_programs(&lab.pin_dir().join("abi/maps")).unwrap();
    let maps = tables::read(&lab.pin_dir()).unwrap();
    assert!(maps.len() > 10, "{maps:?}");
    // Those for each CPU are rules' counters, most of all.
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

//! Parse, classify and reject: nothing panics, everything has a verdict, and it is the one that a naive
//! reading of packet and rules comes to.
//!
//! The first byte of an input chooses the rules, the second one whether the packet goes to the pod, the rest
//! is the packet.
#![no_main]

mod answer;
mod naive;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use xdp_core::{
    testing::{NIC_MAC, POD, POD_V6, PodModel, RuleFixture, VerdictSummary},
    verdict::{Verdict, decide},
};

/// Bounds of sources, and how many go into a block.
const DEPTHS: [(usize, usize); 4] = [(1, 64), (64, 64), (200, 15), (300, 7)];

static RULES: LazyLock<Vec<(RuleFixture, PodModel)>> = LazyLock::new(|| {
    (0..32)
        .map(|seed| {
            let (bounds, width) = DEPTHS[seed as usize % DEPTHS.len()];
            let fixture = RuleFixture::random(bounds, &mut fastrand::Rng::with_seed(seed));
            let model = fixture.model(width);
            (fixture, model)
        })
        .collect()
});

/// Writes the pod's address where a packet behind `tags` tags has its destination: random bytes would never
/// hit it.
fn aim(frame: &mut [u8], tags: usize) {
    let ip = 14 + 4 * tags;
    let is_v6 = frame.get(ip - 2..ip) == Some(&[0x86, 0xdd]);
    let pod = POD_V6.octets();
    let (at, address): (usize, &[u8]) = if is_v6 { (ip + 24, &pod) } else { (ip + 16, &POD) };
    if let Some(destination) = frame.get_mut(at..at + address.len()) {
        destination.copy_from_slice(address);
    }
}

fn is_to_the_pod(frame: &[u8], v6: bool, tags: usize) -> bool {
    let ip = 14 + 4 * tags;
    if v6 {
        frame[ip + 24..ip + 40] == POD_V6.octets()
    } else {
        frame[ip + 16..ip + 20] == POD
    }
}

fuzz_target!(|input: &[u8]| {
    let [rules, aimed, frame @ ..] = input else { return };
    let mut frame = frame.to_vec();
    if aimed % 4 != 3 {
        aim(&mut frame, usize::from(aimed % 4));
    }
    // The NIC's own address, which random bytes would never hit.
    if aimed / 4 % 4 != 3
        && let Some(mac) = frame.get_mut(..6)
    {
        mac.copy_from_slice(&NIC_MAC.to_be_bytes()[2..]);
    }
    let (fixture, model) = &RULES[usize::from(*rules) % RULES.len()];
    let verdict = decide(frame.as_slice(), model);
    let expected = match naive::parse(&frame) {
        Err(reason) => VerdictSummary::Unparsed(reason),
        Ok(facts) if !is_to_the_pod(&frame, facts.v6, facts.tags) => match facts.unparsed {
            Some((reason, _)) => VerdictSummary::Unparsed(reason),
            None => VerdictSummary::NotConsidered,
        },
        Ok(facts) => fixture.verdict(&facts),
    };
    assert_eq!(VerdictSummary::from(verdict), expected);
    if let (Verdict::Reject { offender, .. }, Ok(facts)) = (verdict, naive::parse(&frame)) {
        answer::check(&frame, facts.v6, facts.tags, &offender);
    }
});

//! Random cases.

mod oddities;

use self::oddities::oddities;
use super::{
    case::{Case, IcmpError, Step, Upper},
    host::{Host, Place},
};
use crate::Random;

const PORTS: [u16; 3] = [7000, 7000, 53];
const ERRORS: [IcmpError; 4] = [
    IcmpError::Unreachable,
    IcmpError::TooBig,
    IcmpError::TimeExceeded,
    IcmpError::Redirect,
];

/// Returns a random case.
pub(super) fn case(random: &mut Random) -> Case {
    let v6 = random.percent(50);
    let steps = match random.below(20) {
        0..=9 => vec![inbound(random, v6)],
        10..=11 => twice(random, v6),
        12..=15 => answered(random, v6),
        16..=18 => outbound(random, v6),
        _ => accomplice(random, v6),
    };
    let port = random.pick(&PORTS);
    Case { port, v6, steps }
}

fn inbound(random: &mut Random, v6: bool) -> Step {
    let at = if random.percent(90) {
        Place::Wire0
    } else {
        Place::Wire1
    };
    let to = if random.percent(85) {
        random.pick(&Place::PODS).host()
    } else {
        random.pick(&Host::ALL)
    };
    let from = match random.below(10) {
        0..=3 => at.host(),
        4..=5 => random.pick(&[Host::Routed0, Host::Routed1, Host::Unrouted, Host::Stranger]),
        _ => random.pick(&Host::ALL),
    };
    let upper = upper(random, v6, [to, from]);
    let oddities = oddities(random, v6, at);
    Step {
        at,
        from,
        to,
        upper,
        oddities,
    }
}

/// An ordinary packet, and another one of the flow.
fn twice(random: &mut Random, v6: bool) -> Vec<Step> {
    let first = opening(random);
    let mut second = first.clone();
    second.upper = later(random, first.upper, false);
    second.oddities = oddities(random, v6, second.at);
    if random.percent(20) {
        second.at = Place::Wire1;
    }
    vec![first, second]
}

/// An ordinary packet to a pod, and its answer, which may be another pod's.
fn answered(random: &mut Random, v6: bool) -> Vec<Step> {
    let first = opening(random);
    let at = if random.percent(50) {
        place(first.to)
    } else {
        random.pick(&Place::PODS)
    };
    let answer = answer(random, v6, &first, at);
    vec![first, answer]
}

fn answer(random: &mut Random, v6: bool, first: &Step, at: Place) -> Step {
    let from = if random.percent(90) { first.to } else { at.host() };
    let upper = if random.percent(20) {
        // An error about the packet, which may be another pod's.
        Upper::Error(random.pick(&ERRORS), first.from, first.to)
    } else {
        later(random, first.upper, true)
    };
    Step {
        at,
        from,
        to: first.from,
        upper,
        oddities: oddities(random, v6, at),
    }
}

/// A packet of a pod, and perhaps an answer from outside.
fn outbound(random: &mut Random, v6: bool) -> Vec<Step> {
    let at = random.pick(&Place::PODS);
    let from = if random.percent(60) {
        at.host()
    } else {
        random.pick(&Host::ALL)
    };
    let to = match random.below(4) {
        0 => random.pick(&Host::ALL),
        1 => random.pick(&Place::PODS).host(),
        _ => random.pick(&[Host::Client, Host::Routed0, Host::Routed1, Host::Client1]),
    };
    let upper = upper(random, v6, [from, to]);
    let first = Step {
        at,
        from,
        to,
        upper,
        oddities: oddities(random, v6, at),
    };
    if random.percent(70) {
        return vec![first];
    }
    let back = Step {
        at: random.pick(&[Place::Wire0, Place::Wire1]),
        from: to,
        to: from,
        upper: later(random, upper, true),
        oddities: Vec::new(),
    };
    vec![first, back]
}

/// A packet from outside with a pod's or another forbidden source, and the answer of its receiver.
fn accomplice(random: &mut Random, v6: bool) -> Vec<Step> {
    let mut first = opening(random);
    first.from = random.pick(&Host::ALL);
    let at = place(first.to);
    let answer = answer(random, v6, &first, at);
    vec![first, answer]
}

/// An ordinary first packet of a flow.
fn opening(random: &mut Random) -> Step {
    Step {
        at: Place::Wire0,
        from: random.pick(&[
            Host::Client,
            Host::Client,
            Host::Routed0,
            Host::Routed1,
            Host::Stranger,
        ]),
        to: random.pick(&[Host::Server, Host::Server, Host::Neighbour, Host::Bridged]),
        upper: random.pick(&[Upper::Udp, Upper::Tcp(2), Upper::Echo, Upper::Sctp(1)]),
        oddities: Vec::new(),
    }
}

/// Another packet of a flow.
fn later(random: &mut Random, first: Upper, answers: bool) -> Upper {
    match first {
        Upper::Tcp(_) if answers => Upper::Tcp(random.pick(&[18, 18, 16, 4, 20, 17, 24, 2])),
        Upper::Tcp(_) => Upper::Tcp(random.pick(&[2, 16, 24, 17, 4, 18])),
        Upper::Sctp(_) if answers => Upper::Sctp(random.pick(&[2, 0, 6])),
        Upper::Echo if answers => Upper::EchoReply,
        other => other,
    }
}

fn place(host: Host) -> Place {
    let place = Place::PODS.into_iter().find(|place| place.host() == host);
    place.unwrap_or(Place::Server)
}

fn upper(random: &mut Random, v6: bool, [pod, remote]: [Host; 2]) -> Upper {
    match random.below(20) {
        0..=6 => Upper::Udp,
        7..=11 => Upper::Tcp(random.pick(&[2, 2, 16, 18, 4, 20, 17, 24, 0, 0x3f])),
        12 => Upper::Sctp(random.pick(&[0, 1, 2, 6])),
        13 => Upper::Echo,
        14 => Upper::EchoReply,
        15..=16 => Upper::Error(random.pick(&ERRORS), pod, remote),
        17 => Upper::Icmp(if v6 {
            random.pick(&[130, 133, 134, 135, 136, 143, 4, 200])
        } else {
            random.pick(&[4, 9, 10, 12, 13, 17, 200])
        }),
        18 => random.pick(&[Upper::Esp, Upper::Ah]),
        _ => Upper::Protocol(random.pick(&[2, 4, 41, 47, 59, 89, 103, 253, 255, 136])),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stack::oddity::frames;

    #[test]
    fn cases_are_distinct_and_can_be_built() {
        const CASES: usize = 20_000;
        let mut random = Random::new(1, "cases");
        let mut distinct = HashSet::new();
        for _ in 0..CASES {
            let case = case(&mut random);
            let frames = frames(&case, 4000, 1);
            assert_eq!(frames.len(), case.steps.len());
            distinct.insert(case);
        }
        assert!(distinct.len() > CASES * 9 / 10, "{}", distinct.len());
    }
}

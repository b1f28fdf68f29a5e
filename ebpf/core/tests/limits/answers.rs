//! Limits of answers to rejected packets.

use std::time::Duration;

use rstest::rstest;
use xdp_core::limits::answers;

use crate::state::{NAMESPACE, SECOND, State};

#[rstest]
#[case(1000)]
#[case(1)]
#[case(u32::MAX)]
fn answers_are_limited_by_the_node(#[case] per_second: u32) {
    let state = State {
        rejects: per_second,
        ..State::at(SECOND)
    };
    let asked = per_second.min(2000);
    let sent = |packets| (0..packets).filter(|_| answers(NAMESPACE, &&state)).count();
    assert_eq!(sent(asked), asked as usize);
    if per_second < 2000 {
        assert_eq!(sent(100), 0);
        state.wait(SECOND);
        assert_eq!(sent(asked + 100), asked as usize);
    }
}

#[test]
fn a_node_that_may_not_answer_does_not() {
    let state = State {
        rejects: 0,
        ..State::at(SECOND)
    };
    assert!(!answers(NAMESPACE, &&state));
}

fn of_namespaces(budget: u32, namespaces: u16) -> State {
    State {
        rejects: budget,
        answering: u64::from(namespaces),
        ..State::at(SECOND)
    }
}

#[rstest]
#[case(1000, 2, 250)]
#[case(1000, 1000, 1)]
#[case(1000, 700, 1)]
#[case(10, 10, 1)]
#[case(100, 3, 16)]
fn a_flood_of_one_namespace_silences_no_other(
    #[case] budget: u32,
    #[case] namespaces: u16,
    #[case] per_second: u64,
) {
    let state = of_namespaces(budget, namespaces);
    for _ in 0..3 * per_second {
        for _ in 0..2 * budget {
            answers(1, &&state);
        }
        for namespace in 2..=namespaces {
            assert!(answers(namespace, &&state), "{namespace}");
        }
        state.wait(SECOND / per_second);
    }
}

#[test]
fn a_single_namespace_has_the_whole_budget() {
    let state = of_namespaces(100, 1);
    let sent = |packets| (0..packets).filter(|_| answers(1, &&state)).count();
    assert_eq!(sent(200), 100);
    state.wait(SECOND);
    // Twice the rate, for two seconds from a full budget on: the burst, and what comes back.
    let answered: usize = (0..400)
        .map(|_| {
            state.wait(SECOND / 200);
            sent(1)
        })
        .sum();
    assert!((298..=300).contains(&answered), "{answered}");
}

#[test]
fn a_rule_without_a_namespace_has_the_shared_part() {
    let state = of_namespaces(100, 1);
    assert_eq!((0..200).filter(|_| answers(0, &&state)).count(), 50);
}

/// Against a bucket of tokens for all: its capacity is a second's, and one for each namespace at least.
#[test]
fn all_namespaces_together_stay_within_the_budget() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let (bits, most) = (rng.u8(..12), rng.u8(..8));
        let (budget, namespaces) = (rng.u32(1..=1 << bits), rng.u16(1..=1 << most));
        let state = of_namespaces(budget, namespaces);
        let (rate, capacity) = (f64::from(budget), f64::from(budget.max(namespaces.into())));
        let mut tokens = capacity;
        for _ in 0..3000 {
            let bits = rng.u8(..29);
            let pause = rng.u64(..1 << bits);
            state.wait(pause);
            tokens = (tokens + rate * Duration::from_nanos(pause).as_secs_f64()).min(capacity);
            for _ in 0..rng.u8(..8) {
                if answers(1 + rng.u16(..namespaces), &&state) {
                    tokens -= 1.0;
                }
            }
            assert!(tokens > -1e-6, "{budget} for {namespaces}: {tokens}");
        }
    }
}

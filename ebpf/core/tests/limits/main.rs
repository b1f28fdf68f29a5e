//! Rate limits, with a clock that stands until it is moved and other CPUs that step in where it hurts.
#![expect(clippy::unwrap_used, reason = "state of the tests' own making")]

mod answers;
mod sources;
mod state;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rstest::rstest;
use state::{NAMESPACE, RULE, SECOND, State};
use xdp_core::{
    events::Event,
    key::Scratch,
    limits::{Admission, Enforced, admits, enforce},
    tables::{Action, ActionRecord, Address, PodBlock},
    testing::{POD, POD_V6, PacketShape, PodModel},
    verdict::{Decision, Kind, PacketLimit, VerdictCode, examine},
};

fn record(per_second: u64, burst: u64, flag: u8) -> ActionRecord {
    let interval = (SECOND << 8) / per_second;
    ActionRecord {
        rule: RULE,
        action: Action::Pass as u8,
        flags: flag,
        namespace: NAMESPACE,
        interval,
        window: interval * burst,
        ..ActionRecord::default()
    }
}

fn source(n: u32) -> Address {
    Address::v4(n.to_be_bytes())
}

fn admit(state: &State, record: &ActionRecord, n: u32) -> Admission {
    let source = source(n);
    admits(&PacketLimit { record, source }, &state)
}

fn granted(state: &State, record: &ActionRecord, packets: u32) -> u32 {
    granted_to(state, record, 1, packets)
}

fn granted_to(state: &State, record: &ActionRecord, n: u32, packets: u32) -> u32 {
    (0..packets)
        .map(|_| u32::from(admit(state, record, n) == Admission::Granted))
        .sum()
}

/// A machine that has just started, one that runs, one whose ticks are about to wrap, one that is far beyond.
#[rstest]
fn a_burst_passes_at_once_and_then_one_per_interval(
    #[values(0, SECOND, (1 << 56) - 1, 1 << 57, u64::MAX >> 8)] now: u64,
    #[values(ActionRecord::LIMIT_RULE, ActionRecord::LIMIT_SOURCE)] flag: u8,
) {
    let state = State::at(now);
    let limit = record(1000, 5, flag);
    assert_eq!(granted(&state, &limit, 100), 5);
    for _ in 0..1000 {
        state.wait(SECOND / 1000);
        assert_eq!(granted(&state, &limit, 2), 1);
    }
    // After a long silence, a source has one burst, not more.
    state.wait(3600 * SECOND);
    assert_eq!(granted(&state, &limit, 100), 5);
}

#[test]
fn over_time_what_passes_is_the_rate_and_one_burst() {
    for (per_second, burst, gap) in [(10_000, 100, 37_123), (1_000_000, 10, 311), (3, 2, 77_777_777)] {
        let state = State::at(SECOND);
        let limit = record(per_second, burst, ActionRecord::LIMIT_RULE);
        let packets = 10 * SECOND / gap;
        let passed: u64 = (0..packets)
            .map(|_| {
                state.wait(gap);
                u64::from(granted(&state, &limit, 1))
            })
            .sum();
        let expected = (per_second * 10 + burst).min(packets);
        // An interval is cut off to whole ticks, which is 1 in 256 at a million per second.
        let error = passed.abs_diff(expected);
        assert!(error <= 1 + expected / 250, "{passed} of {expected}");
    }
}

#[test]
fn two_who_step_on_each_other_pass_what_one_alone_would() {
    static INTRUDED: AtomicU64 = AtomicU64::new(0);

    let mut state = State::at(SECOND);
    let limit = record(1000, 50, ActionRecord::LIMIT_RULE);
    // Between reading the cell and changing it, another CPU lets one packet through, which it counts itself.
    state.intruder = |state| {
        let limit = record(1000, 50, ActionRecord::LIMIT_RULE);
        INTRUDED.fetch_add(u64::from(granted(state, &limit, 1)), Ordering::Relaxed);
    };
    let mut passed = 0;
    for _ in 0..100 {
        state.intrusions.store(1, Ordering::Relaxed);
        passed += u64::from(granted(&state, &limit, 1));
    }
    assert_eq!(passed + INTRUDED.load(Ordering::Relaxed), 50);
}

#[test]
fn threads_at_once_pass_one_burst() {
    let state = State::at(SECOND);
    let limit = record(1, 10_000, ActionRecord::LIMIT_RULE);
    let passed: u32 = thread::scope(|scope| {
        let others = [(); 4].map(|()| scope.spawn(|| granted(&state, &limit, 10_000)));
        others.into_iter().map(|other| other.join().unwrap()).sum()
    });
    // Who loses eight times in a row passes: others passed in his place.
    assert!((10_000..10_200).contains(&passed), "{passed}");
}

#[test]
fn who_always_loses_passes_in_the_end() {
    let mut state = State::at(SECOND);
    let limit = record(1_000_000, 1000, ActionRecord::LIMIT_RULE);
    state.intruder = |state| {
        state.rules[RULE as usize].fetch_add(1, Ordering::Relaxed);
    };
    state.intrusions.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(granted(&state, &limit, 1), 1);
}

#[test]
fn a_slower_clock_sees_the_window_used_up() {
    let state = State::at(SECOND + 5_000_000);
    let limit = record(1000, 50, ActionRecord::LIMIT_RULE);
    assert_eq!(granted(&state, &limit, 100), 50);
    // Another CPU read its clock five milliseconds ago.
    state.now.store(SECOND, Ordering::Relaxed);
    assert_eq!(granted(&state, &limit, 100), 0);
}

#[test]
fn what_a_longer_window_left_behind_does_not_shut_a_rule() {
    let state = State::at(SECOND);
    assert_eq!(
        granted(&state, &record(1, 1000, ActionRecord::LIMIT_RULE), 1000),
        1000
    );
    assert_eq!(
        granted(&state, &record(1000, 50, ActionRecord::LIMIT_RULE), 100),
        50
    );
}

fn enforced(state: &State, record: ActionRecord, change: fn(&mut PodModel)) -> Enforced {
    let mut model = PodModel::new(POD, POD_V6).with_rule(record);
    change(&mut model);
    let frame = PacketShape::udp(0xc633_6407, false).frame();
    let mut room = Scratch::uninit();
    let decision: Decision<'_> = examine(frame.as_slice(), &model, &mut room);
    enforce(&decision, &state)
}

#[test]
fn what_exceeds_a_limit_is_dropped_whatever_it_was_to_become() {
    let state = State::at(SECOND);
    for (action, change, kind) in [
        (Action::Pass, (|_| {}) as fn(&mut PodModel), Kind::Pass),
        (Action::Redirect, |_| {}, Kind::Redirect),
        (
            Action::Redirect,
            |model| model.pod.flags = PodBlock::NOT_READY,
            Kind::FallBack,
        ),
    ] {
        let record = ActionRecord {
            action: action as u8,
            ..record(1, 1, ActionRecord::LIMIT_RULE)
        };
        state.wait(2 * SECOND);
        assert_eq!(enforced(&state, record, change).outcome.kind, kind);
        let limited = Enforced {
            outcome: VerdictCode::of(Kind::Limited),
            table_full: false,
        };
        assert_eq!(enforced(&state, record, change), limited);
    }
}

#[test]
fn a_rule_without_a_limit_and_an_audit_use_nothing_up() {
    let state = State::at(SECOND);
    for flags in [0, ActionRecord::AUDIT | ActionRecord::LIMIT_RULE] {
        let record = ActionRecord {
            flags,
            ..record(1, 1, 0)
        };
        assert_ne!(enforced(&state, record, |_| {}).outcome.kind, Kind::Limited);
        assert_eq!(state.rules[RULE as usize].load(Ordering::Relaxed), 0);
    }
}

#[test]
fn rejected_packets_beyond_the_nodes_limit_get_no_answer() {
    let state = State {
        rejects: 1,
        ..State::at(SECOND)
    };
    let record = ActionRecord {
        action: Action::Reject as u8,
        ..record(1, 1, 0)
    };
    assert_eq!(
        enforced(&state, record, |_| {}).outcome,
        VerdictCode::of(Kind::Reject)
    );
    let limited = VerdictCode::because(Kind::RejectedSilently, Event::RejectLimited.code());
    assert_eq!(enforced(&state, record, |_| {}).outcome, limited);
}

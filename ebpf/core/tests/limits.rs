//! Rate limits, with a clock that stands until it is moved and other CPUs that step in where it hurts.
#![expect(clippy::unwrap_used, reason = "state of the tests' own making")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rstest::rstest;
use xdp_core::{
    events::Event,
    key::Scratch,
    limits::{ANSWERS, Admission, Enforced, LimitCell, LimitSetCells, Limits, admits, answers, enforce},
    tables::{Action, ActionRecord, Address, LIMIT_SETS, MAX_RULES, PodBlock, WAYS},
    testing::{POD, POD_V6, PacketShape, PodModel},
    verdict::{Decision, Kind, PacketLimit, VerdictCode, examine},
};

const SECOND: u64 = 1_000_000_000;
const RULE: u32 = 7;

struct State {
    now: AtomicU64,
    rules: Vec<AtomicU64>,
    sets: Vec<[AtomicU64; 2 * WAYS]>,
    rejects: u32,
    /// Called once, before the next compare-and-swap.
    intruder: fn(&State),
    intrusions: AtomicU64,
}

impl State {
    fn at(now: u64) -> Self {
        Self {
            now: AtomicU64::new(now),
            rules: (0..=MAX_RULES).map(|_| AtomicU64::new(0)).collect(),
            sets: (0..LIMIT_SETS)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
            rejects: 1000,
            intruder: |_| {},
            intrusions: AtomicU64::new(0),
        }
    }

    fn wait(&self, nanoseconds: u64) {
        self.now.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn set_of(&self, record: &ActionRecord, source: Address) -> usize {
        let before: Vec<u64> = self
            .sets
            .iter()
            .map(|set| set[0].load(Ordering::Relaxed))
            .collect();
        admits(&PacketLimit { record, source }, &self);
        let changed =
            |(set, before): (&[AtomicU64; 2 * WAYS], &u64)| set[0].load(Ordering::Relaxed) != *before;
        self.sets.iter().zip(&before).position(changed).unwrap()
    }
}

#[derive(Clone, Copy)]
struct At<'s> {
    state: &'s State,
    cell: &'s AtomicU64,
}

impl LimitCell for At<'_> {
    fn get(&self) -> u64 {
        self.cell.load(Ordering::Relaxed)
    }

    fn compare_and_swap(&self, old: u64, new: u64) -> u64 {
        if self.state.intrusions.load(Ordering::Relaxed) > 0 {
            self.state.intrusions.fetch_sub(1, Ordering::Relaxed);
            (self.state.intruder)(self.state);
        }
        match self
            .cell
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(seen) | Err(seen) => seen,
        }
    }
}

struct Ways<'s> {
    state: &'s State,
    cells: &'s [AtomicU64; 2 * WAYS],
}

impl<'s> LimitSetCells for Ways<'s> {
    type LimitCell = At<'s>;

    fn owner(&self, way: usize) -> At<'s> {
        At {
            state: self.state,
            cell: &self.cells[way],
        }
    }

    fn until(&self, way: usize) -> At<'s> {
        At {
            state: self.state,
            cell: &self.cells[WAYS + way],
        }
    }
}

impl<'s> Limits for &'s State {
    type LimitCell = At<'s>;
    type LimitSetCells = Ways<'s>;

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn seed(&self) -> u64 {
        0x1234_5678_9abc_def0
    }

    fn rejects_per_second(&self) -> u32 {
        self.rejects
    }

    fn rule(&self, rule: u32) -> Option<At<'s>> {
        let cell = self.rules.get(rule as usize)?;
        Some(At { state: self, cell })
    }

    fn set(&self, index: u32) -> Option<Ways<'s>> {
        let cells = self.sets.get(index as usize)?;
        Some(Ways { state: self, cells })
    }
}

fn record(per_second: u64, burst: u64, flag: u8) -> ActionRecord {
    let interval = (SECOND << 8) / per_second;
    ActionRecord {
        rule: RULE,
        action: Action::Pass as u8,
        flags: flag,
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

#[test]
fn sources_have_limits_of_their_own_and_rules_have() {
    let state = State::at(SECOND);
    let limit = record(1000, 5, ActionRecord::LIMIT_SOURCE);
    let other_rule = ActionRecord { rule: 8, ..limit };
    for n in 0..100 {
        for record in [&limit, &other_rule] {
            let granted = (0..10)
                .filter(|_| admit(&state, record, n) == Admission::Granted)
                .count();
            assert_eq!(granted, 5, "{n}");
        }
    }
    assert_eq!(state.rules[RULE as usize].load(Ordering::Relaxed), 0);
}

#[test]
fn sources_without_a_place_share_their_rules_limit_and_say_so() {
    let state = State::at(SECOND);
    let limit = record(1000, 2, ActionRecord::LIMIT_SOURCE);
    let set = state.set_of(&limit, source(0));
    state.wait(SECOND);
    let [own, others @ ..] = &state.sets[set][..WAYS] else {
        unreachable!()
    };
    // Other sources use all ways but one for a second.
    let later = (3 * SECOND) << 8;
    for (way, other) in (1..).zip(others) {
        other.store(99, Ordering::Relaxed);
        state.sets[set][WAYS + way].store(later, Ordering::Relaxed);
    }
    assert_eq!(granted_to(&state, &limit, 0, 10), 2);
    own.store(98, Ordering::Relaxed);
    state.sets[set][WAYS].store(later, Ordering::Relaxed);
    assert_eq!(admit(&state, &limit, 0), Admission::GrantedTableFull);
    assert_eq!(admit(&state, &limit, 0), Admission::GrantedTableFull);
    assert_eq!(admit(&state, &limit, 0), Admission::RefusedTableFull);
    // A second later their time is past.
    state.wait(SECOND);
    assert_eq!(admit(&state, &limit, 0), Admission::Granted);
    assert_eq!(state.sets[set][1].load(Ordering::Relaxed), 99);
}

#[test]
fn who_finds_his_own_name_just_written_uses_that_way() {
    let mut state = State::at(SECOND);
    let limit = record(1000, 2, ActionRecord::LIMIT_SOURCE);
    // Another CPU sees the same source between the two looks.
    state.intruder = |state| {
        let limit = record(1000, 2, ActionRecord::LIMIT_SOURCE);
        assert_eq!(admit(state, &limit, 0), Admission::Granted);
    };
    state.intrusions.store(1, Ordering::Relaxed);
    assert_eq!(admit(&state, &limit, 0), Admission::Granted);
    assert_eq!(admit(&state, &limit, 0), Admission::Refused);
}

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
    let sent = |packets| (0..packets).filter(|_| answers(&&state)).count();
    assert_eq!(sent(asked), asked as usize);
    if per_second < 2000 {
        assert_eq!(sent(100), 0);
        state.wait(SECOND);
        assert_eq!(sent(asked + 100), asked as usize);
    }
    assert!(state.rules[ANSWERS as usize].load(Ordering::Relaxed) > 0);
}

#[test]
fn a_node_that_may_not_answer_does_not() {
    let state = State {
        rejects: 0,
        ..State::at(SECOND)
    };
    assert!(!answers(&&state));
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

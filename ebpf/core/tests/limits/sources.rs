//! Limits of sources.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use xdp_core::{
    limits::{Admission, MAX_WINDOW, admits},
    tables::{ActionRecord, Address, LIMIT_SETS, ShareWord, WAYS},
    verdict::PacketLimit,
};

use crate::{
    admit, granted_to, record, source,
    state::{NAMESPACE, RULE, SECOND, State, TAG},
};

/// A source of the same namespace.
const OTHER: u64 = 99 << 16 | TAG as u64;
/// Half of the sets.
const HALF: u16 = (LIMIT_SETS / 2) as u16;
/// Another namespace, and its rule.
const HOSTILE: u16 = 4;
const FORGED: u32 = 131_072;

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
        other.store(OTHER, Ordering::Relaxed);
        state.sets[set][WAYS + way].store(later, Ordering::Relaxed);
    }
    assert_eq!(granted_to(&state, &limit, 0, 10), 2);
    own.store(OTHER + (1 << 16), Ordering::Relaxed);
    state.sets[set][WAYS].store(later, Ordering::Relaxed);
    assert_eq!(admit(&state, &limit, 0), Admission::GrantedTableFull);
    assert_eq!(admit(&state, &limit, 0), Admission::GrantedTableFull);
    assert_eq!(admit(&state, &limit, 0), Admission::RefusedTableFull);
    // A second later their time is past.
    state.wait(SECOND);
    assert_eq!(admit(&state, &limit, 0), Admission::Granted);
    assert_eq!(state.sets[set][1].load(Ordering::Relaxed), OTHER);
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

/// Two namespaces that have half of the sets each.
fn two_namespaces() -> (State, ActionRecord, ActionRecord) {
    let mut state = State::at(SECOND);
    state.shares[usize::from(NAMESPACE)] = ShareWord::new(HALF, HALF, TAG);
    state.shares[usize::from(HOSTILE)] = ShareWord::new(0, HALF, TAG + 1);
    let honest = record(100, 10, ActionRecord::LIMIT_SOURCE);
    let hostile = ActionRecord {
        rule: RULE + 1,
        namespace: HOSTILE,
        ..record(1, MAX_WINDOW, ActionRecord::LIMIT_SOURCE)
    };
    (state, honest, hostile)
}

/// The n-th of some addresses in networks of their own.
fn v6(network: u8, n: u32) -> Address {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[0x20, 1, 0xd, network]);
    bytes[4..8].copy_from_slice(&n.to_be_bytes());
    Address::v6(bytes)
}

fn flood(state: &State, record: &ActionRecord) -> usize {
    let sources = (0..FORGED).flat_map(|n| [source(0x0a00_0000 + n), v6(1, n)]);
    let full = |source| {
        let admission = admits(&PacketLimit { record, source }, &state);
        matches!(
            admission,
            Admission::GrantedTableFull | Admission::RefusedTableFull
        )
    };
    sources.filter(|source| full(*source)).count()
}

fn newcomers(state: &State, record: &ActionRecord) -> usize {
    let sources = (0..200).flat_map(|n| [source(0xc633_6400 + n), v6(2, n)]);
    let granted = |source| admits(&PacketLimit { record, source }, &state) == Admission::Granted;
    sources.filter(|source| granted(*source)).count()
}

#[test]
fn forged_sources_of_one_namespace_take_no_place_of_another() {
    let (state, honest, hostile) = two_namespaces();
    assert!(flood(&state, &hostile) > FORGED as usize);
    assert_eq!(newcomers(&state, &honest), 400);
}

#[test]
fn sources_of_a_range_that_changes_hands_do_not_keep_their_places() {
    let (mut state, honest, hostile) = two_namespaces();
    state.shares[usize::from(HOSTILE)] = ShareWord::new(0, 2 * HALF, TAG + 1);
    assert!(flood(&state, &hostile) > FORGED as usize / 2);
    state.shares[usize::from(HOSTILE)] = ShareWord::new(0, HALF, TAG + 1);
    assert_eq!(newcomers(&state, &honest), 400);
}

#[test]
fn without_sets_sources_share_the_limit_of_their_rule() {
    for share in [ShareWord::EMPTY, ShareWord::new(0, 0, TAG)] {
        let mut state = State::at(SECOND);
        state.shares[usize::from(NAMESPACE)] = share;
        let limit = record(1, 2, ActionRecord::LIMIT_SOURCE);
        let admissions: Vec<Admission> = (0..3).map(|n| admit(&state, &limit, n)).collect();
        let (granted, refused) = (Admission::GrantedTableFull, Admission::RefusedTableFull);
        assert_eq!(admissions, [granted, granted, refused]);
    }
}

#[test]
fn no_source_keeps_its_place_for_longer_than_a_window() {
    let state = State::at(SECOND);
    let limit = record(1, MAX_WINDOW, ActionRecord::LIMIT_SOURCE);
    let set = state.set_of(&limit, source(0));
    assert_eq!(u64::from(granted_to(&state, &limit, 0, 100)), MAX_WINDOW - 1);
    // A time that no window reaches.
    for way in 0..WAYS {
        state.sets[set][way].store(OTHER, Ordering::Relaxed);
        state.sets[set][WAYS + way].store((100 * MAX_WINDOW * SECOND) << 8, Ordering::Relaxed);
    }
    assert_eq!(admit(&state, &limit, 0), Admission::Granted);
}

/// Against an oracle that has one number for each source.
#[test]
fn an_ipv4_address_and_an_ipv6_network_of_64_bits_are_one_source() {
    const BURST: u64 = 5;

    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let state = State::at(SECOND);
        let limit = record(1, BURST, ActionRecord::LIMIT_SOURCE);
        let mut seen = BTreeMap::<(bool, u64), u64>::new();
        for _ in 0..2000 {
            let source = if rng.bool() {
                source(rng.u32(..40))
            } else {
                // Some have the lower half of an IPv4 address.
                Address {
                    high: 0x2001_0db8_0000_0000 + rng.u64(..40),
                    low: if rng.bool() { source(1).low } else { rng.u64(..) },
                }
            };
            let key = if source.is_v4() { source.low } else { source.high };
            let packets = seen.entry((source.is_v4(), key)).or_default();
            *packets += 1;
            let expected = if *packets > BURST {
                Admission::Refused
            } else {
                Admission::Granted
            };
            let record = &limit;
            assert_eq!(
                admits(&PacketLimit { record, source }, &&state),
                expected,
                "{source:?}"
            );
        }
    }
}

//! Shares of a table, for any claims.

use proptest::prelude::*;
use xdp_plan::shares::{Claim, Excess, excess, shares};

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let claim = (0..5000_u32, prop_oneof![Just(0), 0..5000_u32, Just(u32::MAX)]);
    let claim = claim.prop_map(|(used, refused)| Claim { used, refused });
    proptest::collection::vec(claim, 1..40)
}

proptest! {
    #[test]
    fn no_more_is_given_than_there_is(capacity in 0..10_000_u32, claims in claims()) {
        let sum: u64 = shares(capacity, &claims).into_iter().map(u64::from).sum();
        prop_assert!(sum <= u64::from(capacity));
    }

    #[test]
    fn no_limit_is_less_than_the_sure_part_or_the_demand_up_to_a_part_of_all(
        capacity in 0..10_000_u32,
        claims in claims(),
    ) {
        let part = capacity / claims.len() as u32;
        for (claim, limit) in claims.iter().zip(shares(capacity, &claims)) {
            prop_assert!(limit >= capacity / 2 / claims.len() as u32);
            prop_assert!(limit >= claim.used.min(part), "{claim:?} has {limit} of {capacity}");
        }
    }

    #[test]
    fn what_others_use_and_want_takes_nothing_from_a_part_of_all(
        capacity in 0..10_000_u32,
        mut claims in claims(),
        others in claims(),
    ) {
        let part = capacity / claims.len() as u32;
        let before = shares(capacity, &claims)[0].min(claims[0].used).min(part);
        for (claim, other) in claims.iter_mut().zip(others).skip(1) {
            *claim = other;
        }
        prop_assert!(shares(capacity, &claims)[0] >= before);
    }

    #[test]
    fn the_idle_ones_are_deleted_first_and_those_in_use_only_beyond_the_limit(
        limit in 0..200_u32,
        is_refused in any::<bool>(),
        counts in proptest::collection::vec(0..100_u32, 1..6),
    ) {
        let ages: Vec<(u32, u32)> = (0_u32..).zip(counts).collect();
        let used: u32 = ages.iter().map(|(_, count)| count).sum();
        let idle: u32 = ages.iter().filter(|(age, _)| *age >= 2).map(|(_, count)| count).sum();
        let deleted = excess(limit, is_refused, &ages).map_or(0, |Excess { older_than, as_old }| {
            let older = ages.iter().filter(|(age, _)| *age > older_than);
            older.map(|(_, count)| count).sum::<u32>() + as_old
        });
        prop_assert!(used - deleted <= limit);
        if deleted > used.saturating_sub(limit) {
            prop_assert!(deleted <= idle, "nothing in use is deleted for more room");
            prop_assert!(is_refused && used > limit * 3 / 4, "only if the share is nearly used up");
        }
    }
}

#[test]
fn what_is_demanded_is_lent_and_comes_back() {
    let idle = Claim::default();
    let busy = Claim {
        used: 512,
        refused: 1000,
    };
    assert_eq!(shares(1024, &[busy, idle]), [768, 256]);
    let comes = Claim {
        used: 256,
        refused: 1000,
    };
    assert_eq!(shares(1024, &[busy, comes]), [512, 512]);
    assert_eq!(shares(1024, &[idle, idle]), [512, 512]);
    assert_eq!(shares(1024, &[]), [0; 0]);
}

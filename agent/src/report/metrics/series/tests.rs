use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMITS: RuleLimits = RuleLimits {
    total: 100,
    per_namespace: 20,
    rule_label: true,
};

fn key(namespace: u32, policy: u64, rule: u64) -> RuleKey {
    RuleKey {
        namespace,
        policy,
        rule,
    }
}

/// Rules of one namespace, in policies with as many rules each.
fn namespace(number: u32, policies: u64, rules: u64) -> Vec<RuleKey> {
    let keys = (0..policies).flat_map(|policy| (0..rules).map(move |rule| key(number, policy, rule)));
    keys.collect()
}

/// The distinct series of each namespace.
fn series(keys: &[RuleKey], details: &[Detail]) -> BTreeMap<u32, BTreeSet<(Detail, u64, u64)>> {
    let mut series: BTreeMap<u32, BTreeSet<_>> = BTreeMap::new();
    for (key, detail) in keys.iter().zip(details) {
        let name = match detail {
            Detail::Rule => (*detail, key.policy, key.rule),
            Detail::Policy => (*detail, key.policy, 0),
            Detail::Namespace => (*detail, 0, 0),
        };
        series.entry(key.namespace).or_default().insert(name);
    }
    series
}

#[test]
fn within_the_limits_each_rule_has_its_series() {
    let keys = [namespace(1, 4, 5), namespace(2, 2, 2)].concat();
    assert!(
        details(&keys, LIMITS)
            .iter()
            .all(|detail| *detail == Detail::Rule)
    );
}

#[test]
fn beyond_its_part_a_namespaces_rules_are_summed_up_by_policy() {
    let keys = namespace(1, 5, 10);
    let details = details(&keys, LIMITS);
    let with_series = details.iter().filter(|detail| **detail == Detail::Rule);
    assert_eq!(with_series.count(), 15, "twenty, and five for the sums");
    assert!(!details.contains(&Detail::Namespace));
}

#[test]
fn beyond_its_part_a_namespaces_policies_are_summed_up() {
    let keys = namespace(1, 1000, 3);
    let details = details(&keys, LIMITS);
    assert_eq!(series(&keys, &details)[&1].len(), 20);
    assert_eq!(
        details.iter().filter(|detail| **detail == Detail::Policy).count(),
        3 * 19
    );
    assert!(!details.contains(&Detail::Rule));
}

#[test]
fn without_rule_labels_policies_have_one_series_each() {
    let limits = RuleLimits {
        rule_label: false,
        ..LIMITS
    };
    let details = details(&namespace(1, 10, 50), limits);
    assert!(details.iter().all(|detail| *detail == Detail::Policy));
}

#[test]
fn hashes_are_the_same_in_each_process() {
    assert_eq!(hash("players"), hash("players"));
    assert_ne!(hash("players"), hash("scanners"));
}

fn any_namespace(number: u32) -> impl Strategy<Value = Vec<RuleKey>> {
    let keys = proptest::collection::vec((0_u64..30, 0_u64..30), 1..200);
    keys.prop_map(move |keys| {
        let mut keys: Vec<_> = keys
            .iter()
            .map(|(policy, rule)| key(number, *policy, *rule))
            .collect();
        keys.sort_unstable();
        keys
    })
}

proptest! {
    /// Whatever the policies of namespace 0 are, the rules of namespace 1 that have series are those that
    /// it would have alone with some part that is not smaller than its share.
    #[test]
    fn a_namespace_changes_which_rules_of_another_have_series_only_within_its_share(
        attacker in any_namespace(0),
        victim in any_namespace(1),
        total in 2_usize..300,
        per_namespace in 1_usize..150,
        rule_label in any::<bool>(),
    ) {
        let limits = RuleLimits { total, per_namespace, rule_label };
        let found = details(&[attacker.clone(), victim.clone()].concat(), limits);
        let found = &found[attacker.len()..];
        let share = per_namespace.min(total / 2).max(1);
        let alone = |part| details(&victim, RuleLimits { total: part, per_namespace: part, rule_label });
        prop_assert!((share..=per_namespace.max(share)).any(|part| alone(part) == found));
        // More than its share only adds names.
        for (shared, found) in alone(share).iter().zip(found) {
            prop_assert!(found >= shared);
        }
    }

    #[test]
    fn the_limits_hold_and_rules_that_share_a_series_are_neighbours(
        first in any_namespace(0),
        second in any_namespace(1),
        third in any_namespace(2),
        total in 3_usize..300,
        per_namespace in 1_usize..150,
        rule_label in any::<bool>(),
    ) {
        let limits = RuleLimits { total, per_namespace, rule_label };
        let keys = [first, second, third].concat();
        let details = details(&keys, limits);
        let series = series(&keys, &details);
        prop_assert!(series.values().all(|own| own.len() <= per_namespace));
        let all: usize = series.values().map(BTreeSet::len).sum();
        prop_assert!(all <= total);
        let rules: Vec<_> = keys.iter().zip(&details).collect();
        let shared = rules.chunk_by(|a, b| shares((*a.0, *a.1), (*b.0, *b.1)));
        prop_assert_eq!(shared.count(), all);
        if !rule_label {
            prop_assert!(!details.contains(&Detail::Rule));
        }
    }
}

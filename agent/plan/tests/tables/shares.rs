//! Namespaces share source limits and answers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use xdp_core::tables::{LIMIT_SETS, MAX_SLOTS, MIN_LIMIT_SETS};
use xdp_plan::{
    change::{Change, ChangeResult, apply_in_order},
    desired::Desired,
    diff::diff,
    policy::{LimitPer, PacketRateLimit, Protocol, Rule, RuleAction},
    testing::{fixture, model::TableModel},
};

use crate::{
    nodes::assert_converged,
    sets::{desired, pod, policy, single},
};

/// The rules of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Drop,
    Limit,
    Reject,
    Both,
}

impl Rules {
    const fn limit(self) -> bool {
        matches!(self, Self::Limit | Self::Both)
    }

    const fn reject(self) -> bool {
        matches!(self, Self::Reject | Self::Both)
    }

    fn build(self) -> Vec<Rule> {
        let limit = Rule {
            rate_limit: Some(PacketRateLimit {
                packets_per_second: 10,
                burst: 5,
                per: LimitPer::Source,
            }),
            ports: vec![single(Protocol::Udp, 7)],
            ..fixture::rule("limit", RuleAction::Pass)
        };
        let reject = fixture::rule("reject", RuleAction::Reject);
        match self {
            Self::Drop => vec![fixture::rule("drop", RuleAction::Drop)],
            Self::Limit => vec![limit],
            Self::Reject => vec![reject],
            Self::Both => vec![limit, reject],
        }
    }
}

type Namespaces = BTreeMap<u16, Rules>;

fn name(namespace: u16) -> String {
    format!("n{namespace:04}")
}

fn node(namespaces: &Namespaces) -> Desired {
    let policies = namespaces
        .iter()
        .map(|(number, rules)| policy(&name(*number), "p", rules.build()));
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        [10, 0, high, low].into()
    };
    let pods = namespaces
        .keys()
        .map(|number| pod(&name(*number), address(*number)));
    desired(&policies.collect::<Vec<_>>(), &pods.collect::<Vec<_>>())
}

fn namespaces() -> impl Strategy<Value = Namespaces> {
    let rules = prop::sample::select(vec![Rules::Drop, Rules::Limit, Rules::Reject, Rules::Both]);
    prop::collection::btree_map(0..12_u16, rules, 0..10)
}

/// Returns the number of each namespace, and what distinguishes its sources.
fn numbers(model: &TableModel) -> BTreeMap<String, (u16, Option<u16>)> {
    let installed = &model.installed;
    let records = installed.blocks.actions.iter().map(|(_, record)| record);
    let records = records.filter(|record| record.namespace != 0);
    let tag = |number: &u16| installed.shares.get(number).map(|share| share.tag());
    records
        .map(|record| {
            let namespace = installed.rules[&record.rule].namespace.clone();
            (namespace, (record.namespace, tag(&record.namespace)))
        })
        .collect()
}

fn assert_shared_out(model: &TableModel, namespaces: &Namespaces) {
    let numbers = numbers(model);
    let with = |has: fn(Rules) -> bool| {
        let with = namespaces.iter().filter(move |(_, rules)| has(**rules));
        with.map(|(number, _)| name(*number)).collect::<Vec<_>>()
    };
    let (limiting, rejecting) = (with(Rules::limit), with(Rules::reject));
    assert_eq!(model.installed.answering as usize, rejecting.len());
    let sharing: BTreeSet<&String> = limiting.iter().chain(&rejecting).collect();
    assert_eq!(numbers.keys().collect::<BTreeSet<_>>(), sharing);
    let different: BTreeSet<u16> = numbers.values().map(|(number, _)| *number).collect();
    assert_eq!(different.len(), numbers.len(), "two namespaces have one number");
    assert_eq!(model.installed.shares.len(), limiting.len());
    let sure = LIMIT_SETS / limiting.len().max(1).next_power_of_two() as u32;
    for namespace in &limiting {
        let share = model.installed.shares[&numbers[namespace].0];
        assert!(u32::from(share.sets()) >= sure.max(MIN_LIMIT_SETS), "{share:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// The model checks after every change that shares do not overlap, and that each record has its share.
    #[test]
    fn each_namespace_has_its_share_and_keeps_its_number(turns in prop::collection::vec(namespaces(), 1..6)) {
        let mut model = TableModel::default();
        let mut before = BTreeMap::<String, (u16, Option<u16>)>::new();
        for namespaces in turns {
            let desired = node(&namespaces);
            model.apply(&diff(&desired, &model.installed));
            assert_converged(&model, &desired);
            assert_shared_out(&model, &namespaces);
            let now = numbers(&model);
            for (namespace, (number, tag)) in before {
                let Some((same, new)) = now.get(&namespace) else { continue };
                prop_assert_eq!(&number, same);
                prop_assert!(tag.is_none() || new.is_none() || tag == *new);
            }
            before = now;
        }
    }

    #[test]
    fn shares_that_cannot_be_written_are_written_later(
        first in namespaces(),
        second in namespaces(),
        fails in 0..12_usize,
    ) {
        let mut model = TableModel::default();
        model.apply(&diff(&node(&first), &model.installed));
        let desired = node(&second);
        let changes = diff(&desired, &model.installed);
        let mut shares = 0;
        let results = apply_in_order(&changes, |change| {
            if matches!(change, Change::SetShare { .. } | Change::SetAnswering { .. }) {
                shares += 1;
                if shares > fails {
                    return Err(());
                }
            }
            model.apply_one(change);
            Ok(())
        });
        let failed = results.iter().filter(|result| matches!(result, ChangeResult::Failed(()))).count();
        prop_assert!(failed <= 1, "others could overlap");
        for _ in 0..3 {
            model.apply(&diff(&desired, &model.installed));
        }
        assert_converged(&model, &desired);
        assert_shared_out(&model, &second);
    }
}

#[test]
fn as_many_namespaces_as_there_are_slots_have_their_share_and_may_all_be_replaced() {
    let mut model = TableModel::default();
    for first in [0, MAX_SLOTS as u16] {
        let namespaces = (0..MAX_SLOTS as u16).map(|number| (first + number, Rules::Both));
        let namespaces: Namespaces = namespaces.collect();
        let desired = node(&namespaces);
        let mut passes = 0;
        loop {
            let changes = diff(&desired, &model.installed);
            if changes.is_empty() {
                break;
            }
            model.apply(&changes);
            passes += 1;
            assert!(passes < 10, "no end");
        }
        println!("{passes} passes");
        assert_converged(&model, &desired);
        assert_shared_out(&model, &namespaces);
    }
}

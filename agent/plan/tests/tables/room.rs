//! When what is in force leaves little room for what is to come.

use xdp_plan::{
    compile::Desired,
    diff::diff,
    policy::{Protocol, Sources},
    testing::model::TableModel,
};

use crate::{
    nodes::assert_settled,
    sets::{desired, pod, policy, rule, single},
};

/// Pods with rules of their own, which all decide about something.
fn node(pods: u8, rules: u16, names: &str) -> Desired {
    let policies = (0..pods).map(|index| {
        let rules = (0..rules).map(|port| {
            rule(
                &format!("{names}{port}"),
                Sources::Any,
                vec![single(Protocol::Tcp, port)],
            )
        });
        policy(&format!("n{index:02}"), "p", rules.collect())
    });
    let policies: Vec<_> = policies.collect();
    let pods: Vec<_> = (0..pods)
        .map(|index| pod(&format!("n{index:02}"), [10, 0, 1, index].into()))
        .collect();
    desired(&policies, &pods)
}

/// How many rounds it takes.
fn settle(model: &mut TableModel, desired: &Desired) -> usize {
    for round in 0..30 {
        let changes = diff(desired, &model.installed);
        if changes.is_empty() {
            assert_settled(model, desired);
            return round;
        }
        model.apply(&changes);
    }
    panic!("no end");
}

#[test]
fn all_rules_of_a_busy_node_may_be_renamed() {
    let mut model = TableModel::default();
    assert_eq!(settle(&mut model, &node(30, 800, "before")), 1);
    let rounds = settle(&mut model, &node(30, 800, "after"));
    println!("{rounds} rounds");
    assert!(rounds > 1);
}

#[test]
fn pods_whose_next_rules_have_no_room_beside_their_old_ones_give_those_up() {
    let mut model = TableModel::default();
    settle(&mut model, &node(32, 1_000, "before"));
    let rounds = settle(&mut model, &node(32, 1_000, "after"));
    println!("{rounds} rounds");
}

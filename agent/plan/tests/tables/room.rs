//! Changes that need several passes, because installed blocks leave little room for new ones.

use xdp_plan::{
    desired::Desired,
    diff::diff,
    policy::{Protocol, Sources},
    testing::model::TableModel,
};

use crate::{
    nodes::assert_converged,
    sets::{desired, pod, policy, rule, single},
};

/// Pods with rules of their own that each need a record.
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

/// Applies changes until none is left, and returns the number of passes.
fn converge(model: &mut TableModel, desired: &Desired) -> usize {
    for pass in 0..30 {
        let changes = diff(desired, &model.installed);
        if changes.is_empty() {
            assert_converged(model, desired);
            return pass;
        }
        model.apply(&changes);
    }
    panic!("no end");
}

#[test]
fn all_rules_of_a_busy_node_may_be_renamed() {
    let mut model = TableModel::default();
    assert_eq!(converge(&mut model, &node(30, 800, "before")), 1);
    let passes = converge(&mut model, &node(30, 800, "after"));
    println!("{passes} passes");
    assert!(passes > 1);
}

#[test]
fn pods_lose_their_old_rules_first_when_old_and_new_ones_do_not_fit_together() {
    let mut model = TableModel::default();
    converge(&mut model, &node(32, 1_000, "before"));
    let passes = converge(&mut model, &node(32, 1_000, "after"));
    println!("{passes} passes");
}

//! Reconciles converge from every state.

use std::sync::Arc;

use proptest::prelude::*;
use xdp_plan::{
    desired::Desired,
    diff::{Differ, diff},
    installed::Installed,
    nics::Stations,
    programmed::Programmed,
    testing::model::TableModel,
};

use crate::nodes::{assert_converged, corrupt, node};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn one_reconcile_reaches_the_desired_state_and_the_next_has_no_changes(
        nodes in prop::collection::vec(node(), 1..5),
    ) {
        let mut model = TableModel::default();
        for desired in &nodes {
            model.apply(&diff(desired, &model.installed));
            assert_converged(&model, desired);
        }
        let empty = Desired { stations: Some(Stations::default()), ..Desired::default() };
        model.apply(&diff(&empty, &model.installed));
        prop_assert_eq!(model.installed, Installed::default());
    }

    #[test]
    fn a_differ_with_memory_finds_the_same_changes_as_one_without(
        nodes in prop::collection::vec(node(), 1..4),
        turns in prop::collection::vec((0..4_usize, any::<bool>()), 1..8),
        broken in corrupt(),
    ) {
        let (mut differ, mut model) = (Differ::default(), TableModel::default());
        for (turn, breaks) in turns {
            if breaks {
                model = broken.clone();
            }
            let desired = &nodes[turn % nodes.len()];
            for _ in 0..3 {
                let reading = Arc::new(model.installed.clone());
                let changes = differ.diff(desired, &reading);
                prop_assert_eq!(&changes, &diff(desired, &reading));
                let looked = Programmed::new(&reading);
                let knows = Programmed::new(&reading).with_differ(&differ);
                for pod in &desired.pods {
                    prop_assert_eq!(knows.holds(pod), looked.holds(pod));
                }
                model.apply(&changes);
            }
        }
    }

    #[test]
    fn corrupt_tables_are_repaired(mut model in corrupt(), desired in node()) {
        for _ in 0..2 {
            let changes = diff(&desired, &model.installed);
            if changes.is_empty() {
                break;
            }
            model.apply(&changes);
        }
        assert_converged(&model, &desired);
    }
}

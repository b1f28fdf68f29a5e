//! Rounds converge, wherever they begin.

use std::sync::Arc;

use proptest::prelude::*;
use xdp_plan::{
    compile::Desired,
    diff::{Differ, diff},
    installed::Installed,
    programmed::Programmed,
    testing::model::TableModel,
};

use crate::nodes::{assert_settled, corrupt, node};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_leads_to_what_is_desired_and_the_next_has_nothing_to_do(nodes in prop::collection::vec(node(), 1..5)) {
        let mut model = TableModel::default();
        for desired in &nodes {
            model.apply(&diff(desired, &model.installed));
            assert_settled(&model, desired);
        }
        model.apply(&diff(&Desired::default(), &model.installed));
        prop_assert_eq!(model.installed, Installed::default());
    }

    #[test]
    fn who_remembers_finds_what_who_does_not_would(
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
                let knows = Programmed::new(&reading).knowing(&differ);
                for pod in &desired.pods {
                    prop_assert_eq!(knows.holds(pod), looked.holds(pod));
                }
                model.apply(&changes);
            }
        }
    }

    #[test]
    fn corrupt_tables_are_put_right(mut model in corrupt(), desired in node()) {
        for _ in 0..2 {
            let changes = diff(&desired, &model.installed);
            if changes.is_empty() {
                break;
            }
            model.apply(&changes);
        }
        assert_settled(&model, &desired);
    }
}

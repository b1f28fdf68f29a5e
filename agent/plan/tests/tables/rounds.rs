//! Rounds converge, wherever they begin.

use proptest::prelude::*;
use xdp_plan::compile::Desired;
use xdp_plan::diff::diff;
use xdp_plan::installed::Installed;

use crate::model::Model;
use crate::nodes::{assert_settled, corrupt, node};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_leads_to_what_is_desired_and_the_next_has_nothing_to_do(nodes in prop::collection::vec(node(), 1..5)) {
        let mut model = Model::default();
        for desired in &nodes {
            model.apply(&diff(desired, &model.installed));
            assert_settled(&model, desired);
        }
        model.apply(&diff(&Desired::default(), &model.installed));
        prop_assert_eq!(model.installed, Installed::default());
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

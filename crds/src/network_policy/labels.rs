//! Converts the label selectors of Kubernetes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::fault::{NetworkPolicyFault, Unreadable};
use crate::{
    LabelSelector, LabelSelectorOperator, LabelSelectorRequirement,
    policy::{Selector, selector},
};

/// Converts a selector. `None` selects everything, as `{}` does.
pub(super) fn selector(path: &str, written: Option<&meta::LabelSelector>) -> Result<Selector, Unreadable> {
    let Some(written) = written else {
        return Ok(Selector::default());
    };
    let expressions = written.match_expressions.iter().flatten().enumerate();
    let match_expressions = expressions
        .map(|(index, written)| requirement(&format!("{path}.matchExpressions[{index}]"), written))
        .collect::<Result<_, _>>()?;
    let copy = LabelSelector {
        match_labels: written.match_labels.clone().unwrap_or_default(),
        match_expressions,
    };
    Ok(selector::convert(path, &copy)?)
}

fn requirement(
    path: &str,
    written: &meta::LabelSelectorRequirement,
) -> Result<LabelSelectorRequirement, Unreadable> {
    let operator = match written.operator.as_str() {
        "In" => LabelSelectorOperator::In,
        "NotIn" => LabelSelectorOperator::NotIn,
        "Exists" => LabelSelectorOperator::Exists,
        "DoesNotExist" => LabelSelectorOperator::DoesNotExist,
        other => {
            let field = format!("{path}.operator");
            return Err(Unreadable::new(field, &other, NetworkPolicyFault::Operator));
        }
    };
    Ok(LabelSelectorRequirement {
        key: written.key.clone(),
        operator,
        values: written.values.clone().unwrap_or_default(),
    })
}

//! Antrea: `NetworkPolicy` and `ClusterNetworkPolicy` of `crd.antrea.io/v1beta1`.

use serde_json::{Map, Value};

use super::{
    Object,
    expression::{Expression, Key},
    has_entries,
};

/// Returns the pods whose ingress a policy might restrict. A policy without ingress rules restricts none.
pub(super) fn subject(object: &Object<'_>) -> Option<Expression> {
    let spec = object.spec();
    if !has_entries(&spec["ingress"]) {
        return Some(Expression::never());
    }
    let lists = if has_entries(&spec["appliedTo"]) {
        vec![spec["appliedTo"].as_array()?]
    } else {
        let rules = spec["ingress"].as_array()?.iter();
        rules
            .map(|rule| rule["appliedTo"].as_array())
            .collect::<Option<_>>()?
    };
    let applied = lists.into_iter().flatten();
    let applied = applied
        .map(|one| applied_to(object, one.as_object()?))
        .collect::<Option<_>>()?;
    Some(Expression::Any(applied))
}

/// Returns the pods that an entry of `appliedTo` selects.
fn applied_to(object: &Object<'_>, written: &Map<String, Value>) -> Option<Expression> {
    let names_namespace = ["namespaceSelector", "serviceAccount", "service"];
    let mut conditions = Vec::new();
    if !names_namespace.iter().any(|field| written.contains_key(*field)) {
        conditions.push(object.reach());
    }
    for (field, value) in written {
        conditions.push(match field.as_str() {
            "podSelector" => Expression::of_selector(value, |name| Key::Pod(name.to_owned()))?,
            "namespaceSelector" => Expression::of_selector(value, |name| Key::Namespace(name.to_owned()))?,
            // These are not pods.
            "externalEntitySelector" | "nodeSelector" => Expression::never(),
            "serviceAccount" | "service" => {
                let in_namespace = Expression::in_namespace(value["namespace"].as_str()?);
                Expression::All(vec![in_namespace, Expression::Unknown])
            }
            // Groups, and what a later version may have.
            _ => Expression::Unknown,
        });
    }
    (!written.is_empty()).then_some(Expression::All(conditions))
}

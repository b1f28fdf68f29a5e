//! Amazon's `ClusterNetworkPolicy` of `networking.k8s.aws/v1alpha1`.

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
    match only(spec["subject"].as_object()?)? {
        ("namespaces", selector) => namespaces(selector),
        ("pods", selectors) => {
            let conditions = selectors.as_object()?.iter();
            let conditions = conditions.map(|(field, selector)| match field.as_str() {
                "namespaceSelector" => namespaces(selector),
                "podSelector" => Expression::of_selector(selector, |name| Key::Pod(name.to_owned())),
                _ => None,
            });
            conditions.collect::<Option<_>>().map(Expression::All)
        }
        _ => None,
    }
}

fn namespaces(selector: &Value) -> Option<Expression> {
    Expression::of_selector(selector, |name| Key::Namespace(name.to_owned()))
}

/// Returns the field of an object that has one.
fn only(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = fields.iter().next().filter(|_| fields.len() == 1)?;
    Some((name, value))
}

//! Cilium: `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` of `cilium.io/v2`.

use serde_json::Value;

use super::{
    Object,
    expression::{Expression, Key},
    has_entries,
};

/// The prefix of labels of a pod's namespace.
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// Returns the pods whose ingress a policy might restrict.
pub(super) fn subject(object: &Object<'_>) -> Option<Expression> {
    let one = Some(object.spec()).filter(|spec| !spec.is_null());
    let many = match &object.content["specs"] {
        Value::Null => &[][..],
        specs => specs.as_array()?,
    };
    let subjects = one
        .into_iter()
        .chain(many)
        .map(|rule| of_rule(object, rule))
        .collect::<Option<_>>()?;
    Some(Expression::All(vec![object.reach(), Expression::Any(subjects)]))
}

fn of_rule(object: &Object<'_>, rule: &Value) -> Option<Expression> {
    // `enableDefaultDeny` denies without any rule, too.
    let denies = &rule["enableDefaultDeny"]["ingress"];
    let restricts = has_entries(&rule["ingress"]) || has_entries(&rule["ingressDeny"]);
    if !restricts && (denies.is_null() || *denies == false) {
        return Some(Expression::never());
    }
    match (&rule["endpointSelector"], &rule["nodeSelector"]) {
        // About hosts themselves, not about what they forward.
        (Value::Null, Value::Object(_)) => Some(Expression::never()),
        (selector, Value::Null) => {
            let in_namespace = object.namespace.is_some();
            Expression::of_selector(selector, |name| key(name, in_namespace))
        }
        _ => None,
    }
}

/// Returns what a label of an endpoint means: a name, after the source that it comes from. A policy in a
/// namespace selects pods of that namespace only: Cilium overwrites or ignores what it says of the namespace.
fn key(written: &str, in_namespace: bool) -> Key {
    let (source, name) = written.split_once(':').unwrap_or(("any", written));
    match (source, name) {
        // Pods may have it until their labels are known.
        ("reserved", "init" | "unmanaged") => Key::Unknown,
        // Hosts, the health endpoint and what is outside the cluster have these.
        ("reserved", _) => Key::Absent,
        ("any" | "k8s", "io.kubernetes.pod.namespace") if !in_namespace => Key::NamespaceName,
        ("any" | "k8s", "io.kubernetes.pod.namespace") => Key::Unknown,
        ("any" | "k8s", name) => match name.strip_prefix(NAMESPACE_LABELS) {
            Some(of_namespace) if !in_namespace => filtered(Key::Namespace(of_namespace.to_owned())),
            None if !name.starts_with("io.cilium.") => filtered(Key::Pod(name.to_owned())),
            Some(_) | None => Key::Unknown,
        },
        _ => Key::Unknown,
    }
}

/// Wraps a label that Cilium can be configured to leave out.
fn filtered(key: Key) -> Key {
    Key::Filtered(Box::new(key))
}

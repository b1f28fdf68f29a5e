//! Calico: `NetworkPolicy` and `GlobalNetworkPolicy` of `projectcalico.org/v3`, and of
//! `crd.projectcalico.org/v1`, where they are stored.

mod selector;

use serde_json::Value;

use super::{
    Object,
    expression::{Expression, Key},
    has_entries,
};

/// The group in which Calico shows the policies that it derives from those of Kubernetes. It does not store
/// them, so that a stored one with such a name is one of its own.
const SHOWN: &str = "projectcalico.org";
/// Names of derived policies. Those that they are derived from are evaluated.
const DERIVED: [&str; 3] = [
    "knp.default.",
    "kanp.adminnetworkpolicy.",
    "kbanp.baselineadminnetworkpolicy.",
];

/// Returns the pods whose ingress a policy might restrict.
pub(super) fn subject(object: &Object<'_>) -> Option<Expression> {
    let spec = object.spec();
    let is_derived = object.group == SHOWN && DERIVED.iter().any(|prefix| object.name.starts_with(prefix));
    if is_derived || !is_ingress(spec) {
        return Some(Expression::never());
    }
    // About packets that hosts forward, to any pod.
    let of_hosts = ["applyOnForward", "preDNAT", "doNotTrack"].map(|field| &spec[field]);
    if of_hosts.iter().any(|set| !set.is_null() && **set != false) {
        return Some(object.reach());
    }
    // Policies in namespaces have no `namespaceSelector`. A pod is in a namespace: `global()` selects none.
    let in_namespaces = match object.namespace {
        Some(_) => Expression::Always,
        None => selector::parse(text(&spec["namespaceSelector"])?, namespace_key, false)?,
    };
    let of_service_account = match text(&spec["serviceAccountSelector"])? {
        "" => Expression::Always,
        _ => Expression::Unknown,
    };
    Some(Expression::All(vec![
        object.reach(),
        selector::parse(text(&spec["selector"])?, pod_key, true)?,
        in_namespaces,
        of_service_account,
    ]))
}

/// Returns whether a policy is about ingress. By default it is, unless it only has egress rules.
fn is_ingress(spec: &Value) -> bool {
    match &spec["types"] {
        Value::Array(types) if !types.is_empty() => types.iter().any(|one| one != "Egress"),
        _ => !has_entries(&spec["egress"]) || has_entries(&spec["ingress"]),
    }
}

/// Returns the text of a field, which may be absent.
fn text(value: &Value) -> Option<&str> {
    if value.is_null() { Some("") } else { value.as_str() }
}

/// Returns what a label of an endpoint means. A pod has its own labels, some from Calico, and those of its
/// namespace and of its service account with a prefix.
fn pod_key(name: &str) -> Key {
    match name {
        "projectcalico.org/namespace" => Key::NamespaceName,
        "projectcalico.org/orchestrator" => Key::Fixed("k8s"),
        "projectcalico.org/serviceaccount" => Key::Unknown,
        name if name.starts_with("pcsa.") => Key::Unknown,
        name => match name.strip_prefix("pcns.") {
            Some(of_namespace) => namespace_key(of_namespace),
            None => Key::Pod(name.to_owned()),
        },
    }
}

fn namespace_key(name: &str) -> Key {
    match name {
        "projectcalico.org/name" => Key::NamespaceName,
        name => Key::Inherited(format!("pcns.{name}"), name.to_owned()),
    }
}

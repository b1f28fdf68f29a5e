//! `MultiNetworkPolicy` of `k8s.cni.cncf.io/v1beta1`. It is about secondary networks of pods; but a network
//! may also be a pod's only one.

use super::{
    Object,
    expression::{Expression, Key},
};

/// Returns the pods whose ingress a policy might restrict.
pub(super) fn subject(object: &Object<'_>) -> Option<Expression> {
    let spec = object.spec();
    let types = spec["policyTypes"].as_array().filter(|types| !types.is_empty());
    if types.is_some_and(|types| types.iter().all(|one| one == "Egress")) {
        return Some(Expression::never());
    }
    let pods = Expression::of_selector(&spec["podSelector"], |name| Key::Pod(name.to_owned()))?;
    Some(Expression::All(vec![object.reach(), pods]))
}

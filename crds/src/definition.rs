//! The definitions that clusters get.

mod tidy;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{XdpNodeState, XdpPeerSet, XdpPolicy};

/// The definitions of all kinds, as they are applied: complete, and accepted by the API server without a
/// warning.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![XdpPolicy::crd(), XdpNodeState::crd(), XdpPeerSet::crd()];
    definitions.iter_mut().for_each(tidy::definition);
    definitions
}

/// A definition as a YAML document, without `---`.
///
/// # Panics
/// Never: a definition is made of strings, numbers, lists and maps with string keys.
pub fn to_yaml(definition: &CustomResourceDefinition) -> String {
    // By way of a value, because JSON has no enums, newtypes and the like that YAML could write in two ways.
    let value = serde_json::to_value(definition).expect("a definition is JSON");
    serde_saphyr::to_string(&value).expect("JSON is YAML")
}

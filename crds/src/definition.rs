//! The CustomResourceDefinitions.

mod tidy;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{XdpNodeState, XdpPeerSet, XdpPolicy};

/// Returns the CRDs of all kinds. They are complete: the API server accepts them without a warning.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![XdpPolicy::crd(), XdpNodeState::crd(), XdpPeerSet::crd()];
    definitions.iter_mut().for_each(tidy::definition);
    definitions
}

/// Returns a CRD as a YAML document, without `---`.
///
/// # Panics
/// Never: a CRD consists of strings, numbers, lists and maps with string keys.
pub fn to_yaml(definition: &CustomResourceDefinition) -> String {
    // Convert to JSON first: it has no enums and newtypes, which YAML can write in more than one way.
    let value = serde_json::to_value(definition).expect("a definition is JSON");
    serde_saphyr::to_string(&value).expect("JSON is YAML")
}

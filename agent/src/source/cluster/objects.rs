//! From API objects to what the agent keeps of them: a malformed one is a problem of its own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use kube::core::{DynamicObject, ObjectMeta, PartialObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;
use xdp_crds::{XdpPeerSetSpec, XdpPolicy, XdpPolicySpec};
use xdp_plan::{
    pod::Pod,
    policy::Policy,
    report::Problem,
    resolve::{PeerSlice, PolicyVersion},
};

use crate::source::cluster::listed::Key;

/// What counts of the Node object: all else changes every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// What counts of the node's own state object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    /// Uids of its owners that are nodes.
    pub(super) owners: Vec<String>,
    pub(super) status: Value,
}

pub(super) fn key(metadata: &ObjectMeta) -> Key {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    (namespace, metadata.name.clone().unwrap_or_default())
}

pub(super) fn policy(object: DynamicObject) -> PolicyVersion {
    let metadata = object.metadata;
    let (namespace, name) = key(&metadata);
    let seen = |content| PolicyVersion {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        content,
    };
    let spec = match spec::<XdpPolicySpec>("XdpPolicy", &metadata, &object.data) {
        Ok(spec) => spec,
        Err(problem) => return seen(Err(problem)),
    };
    let object = XdpPolicy {
        metadata: metadata.clone(),
        spec,
        status: None,
    };
    seen(Policy::try_from(&object).map_err(|error| Problem::from(&error)))
}

pub(super) fn peer_slice(object: &DynamicObject) -> Result<PeerSlice, Problem> {
    let spec = spec::<XdpPeerSetSpec>("XdpPeerSet", &object.metadata, &object.data)?;
    Ok(PeerSlice {
        namespace: key(&object.metadata).0,
        spec,
    })
}

pub(super) fn pod(object: &k8s::Pod) -> Result<Pod, Problem> {
    Pod::try_from(object).map_err(|error| Problem::from(&error))
}

pub(super) fn node(object: PartialObjectMeta<k8s::Node>) -> Node {
    Node {
        uid: object.metadata.uid.unwrap_or_default(),
        labels: object.metadata.labels.unwrap_or_default(),
    }
}

pub(super) fn written(object: DynamicObject) -> Written {
    let owners = object.metadata.owner_references.unwrap_or_default();
    let nodes = owners.into_iter().filter(|owner| owner.kind == "Node");
    let mut data = object.data;
    Written {
        owners: nodes.map(|owner| owner.uid).collect(),
        status: data.get_mut("status").map(Value::take).unwrap_or_default(),
    }
}

fn spec<T: DeserializeOwned>(kind: &str, metadata: &ObjectMeta, data: &Value) -> Result<T, Problem> {
    let spec = data.get("spec").unwrap_or(&Value::Null);
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let (namespace, name) = key(metadata);
        let path = error.path().to_string();
        let field = if path == "." {
            "spec".to_owned()
        } else {
            format!("spec.{path}")
        };
        Problem::new(
            format!("{kind} {namespace}/{name}"),
            "BadValue",
            format!("`{field}`: {}", error.inner()),
            "correct the field; if the API server takes it, the agent is older than the CRDs: upgrade it",
        )
    })
}

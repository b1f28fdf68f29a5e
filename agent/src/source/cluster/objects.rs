//! Converts API objects to what the agent needs of them. A malformed object becomes a problem.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use kube::core::{DynamicObject, ObjectMeta, PartialObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;
use xdp_client::object::{ObjectName, parse_field};
use xdp_crds::{PEER_SET_LABEL, XdpPeerSetSpec, XdpPolicy, XdpPolicySpec, policy::SetId};
use xdp_plan::{
    pod::Pod,
    policy::{MarkMask, Policy},
    report::Problem,
    resolve::{PeerSlice, PolicyVersion, WrittenPolicy},
};

/// What the agent needs of the Node object. Other fields change every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// What the agent needs of its own state object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    /// Uids of the owners that are nodes.
    pub(super) owners: Vec<String>,
    pub(super) status: Value,
}

pub(super) fn policy(object: DynamicObject, marks: MarkMask) -> PolicyVersion {
    let metadata = object.metadata;
    let ObjectName { namespace, name } = ObjectName::of(&metadata);
    let version = |content| PolicyVersion {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        content,
    };
    let spec = match spec::<XdpPolicySpec>("XdpPolicy", &metadata, &object.data) {
        Ok(spec) => spec,
        Err(problem) => return version(Err(problem)),
    };
    let object = XdpPolicy {
        metadata: metadata.clone(),
        spec,
        status: None,
    };
    let content = Policy::try_from(&object).and_then(|policy| policy.check_marks(marks).map(|()| policy));
    let content = content.map(WrittenPolicy::from);
    version(content.map_err(|error| Problem::from(&error)))
}

/// Returns a slice. `None` if no policy can mean it: it does not say which set it belongs to.
pub(super) fn peer_slice(object: &DynamicObject) -> Option<Result<PeerSlice, Problem>> {
    let label = object.metadata.labels.as_ref()?.get(PEER_SET_LABEL)?;
    let set = SetId::parse(label)?;
    let spec = spec::<XdpPeerSetSpec>("XdpPeerSet", &object.metadata, &object.data);
    Some(spec.map(|spec| PeerSlice { set, spec }))
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
    parse_field(data, "spec").map_err(|error| {
        Problem::new(
            format!("{kind} {}", ObjectName::of(metadata)),
            "BadValue",
            error.to_string(),
            "correct the field; if the API server accepts it, the agent is older than the CRDs: upgrade the agent",
        )
    })
}

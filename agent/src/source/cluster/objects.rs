//! Converts API objects to what the agent needs of them. A malformed object becomes a problem.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{core::v1 as k8s, networking::v1::NetworkPolicy};
use kube::core::{DynamicObject, ObjectMeta, PartialObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;
use xdp_client::object::{ObjectName, parse_field};
use xdp_crds::{
    PEER_SET_LABEL, XdpPeerSetSpec, XdpPolicy, XdpPolicySpec,
    network_policy::{
        self, ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, IngressPolicy, NetworkPolicyError, PolicyKind,
    },
    policy::SetId,
};
use xdp_plan::{
    network_policy::{FOREIGN_KINDS, KnownPolicy},
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
pub(super) fn peer_slice(object: &DynamicObject) -> Option<Result<Arc<PeerSlice>, Problem>> {
    let label = object.metadata.labels.as_ref()?.get(PEER_SET_LABEL)?;
    let set = SetId::parse(label)?;
    let spec = spec::<XdpPeerSetSpec>("XdpPeerSet", &object.metadata, &object.data);
    Some(spec.map(|spec| Arc::new(PeerSlice { set, spec })))
}

/// Returns what a `NetworkPolicy` says. `None`: nothing about connections to pods.
pub(super) fn network_policy(object: &NetworkPolicy) -> Option<KnownPolicy> {
    known(network_policy::network_policy(object))
}

/// Returns what an object of another kind of policies says. `None`: nothing about connections to pods.
pub(super) fn other_policy(kind: PolicyKind, mut object: DynamicObject) -> Option<KnownPolicy> {
    let ObjectName { namespace, name } = ObjectName::of(&object.metadata);
    if let Some(foreign) = FOREIGN_KINDS.iter().find(|foreign| foreign.kind == kind) {
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        // Selectors may ask for what is in the metadata.
        if let Ok(metadata) = serde_json::to_value(&object.metadata) {
            object.data["metadata"] = metadata;
        }
        let policy = foreign.read(namespace, &name, &object.data);
        return Some(KnownPolicy::Foreign(Arc::new(policy)));
    }
    let spec = &object.data["spec"];
    known(match kind {
        kind if kind == CLUSTER_NETWORK_POLICY => network_policy::cluster_network_policy(&name, spec),
        kind if kind == ADMIN_NETWORK_POLICY => network_policy::admin_network_policy(&name, spec),
        _ => network_policy::baseline_admin_network_policy(&name, spec),
    })
}

fn known(read: Result<Option<IngressPolicy>, Box<NetworkPolicyError>>) -> Option<KnownPolicy> {
    match read {
        Ok(policy) => Some(KnownPolicy::Ingress(Arc::new(policy?))),
        Err(error) => Some(KnownPolicy::Unreadable(Arc::new(*error))),
    }
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

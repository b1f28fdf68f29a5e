//! From objects of the API to what matters of them. Nothing here fails: an object that cannot be read says so itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use kube::core::{DynamicObject, PartialObjectMeta};
use xdp_client::object::{FieldError, Versioned, parse_field};
use xdp_crds::{
    XdpNodeStateStatus, XdpPeerSetSpec, XdpPolicy, XdpPolicySpec, XdpPolicyStatus,
    conditions::accepted,
    pod::Pod,
    policy::{Policy, PolicyError},
};

/// A policy, valid or not.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyObject {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it is on its way out; nothing is written for it any more.
    pub deleting: bool,
    /// What it says, or why it is refused.
    pub content: Result<Policy, Refusal>,
    /// The status as it is stored, if there is one that can be read.
    pub status: Option<XdpPolicyStatus>,
}

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`accepted`].
    pub reason: &'static str,
    /// The field, what is wrong with it, and what to write instead.
    pub message: String,
}

/// What matters of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Whether nobody has heard from it for a while: its condition Ready is Unknown.
    pub unreachable: bool,
    /// `status.nodeInfo.bootID`, empty if there is none.
    pub boot_id: String,
}

/// What an agent reports, or why that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState(pub Result<XdpNodeStateStatus, FieldError>);

impl NodeState {
    /// Whether it was reported before the node was started. Where either side says nothing, nobody knows.
    pub fn is_of_another_boot(&self, boot_id: &str) -> bool {
        let reported = self.0.as_ref().map_or("", |state| state.boot_id.as_str());
        !reported.is_empty() && !boot_id.is_empty() && reported != boot_id
    }
}

/// A slice of addresses as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSet {
    /// The policy that it goes with, unless somebody has cut the tie.
    pub owner: Option<Owner>,
    /// What it says, if that can be read.
    pub spec: Option<XdpPeerSetSpec>,
}

/// The policy that an object goes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name, in the same namespace.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What matters of a policy.
pub fn policy(object: &DynamicObject) -> Versioned<PolicyObject> {
    let meta = &object.metadata;
    let content = parse_field::<XdpPolicySpec>(&object.data, "spec")
        .map_err(Refusal::from)
        .and_then(|spec| {
            let mut typed = XdpPolicy::new("", spec);
            typed.metadata = meta.clone();
            Policy::try_from(&typed).map_err(|error| Refusal::from(&error))
        });
    Versioned::new(
        &object.metadata,
        Some(PolicyObject {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            content,
            status: parse_field(&object.data, "status").ok(),
        }),
    )
}

/// What matters of a pod; nothing of one whose addresses cannot be read.
pub fn pod(object: &k8s::Pod) -> Versioned<Pod> {
    Versioned::new(&object.metadata, Pod::try_from(object).ok())
}

/// What matters of a node.
pub fn node(object: &k8s::Node) -> Versioned<NodeFacts> {
    let info = object
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    let boot_id = info.map(|info| info.boot_id.clone()).unwrap_or_default();
    let mut conditions = object
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let unreachable = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "Unknown");
    let facts = NodeFacts {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        unreachable,
        boot_id,
    };
    Versioned::new(&object.metadata, Some(facts))
}

/// The labels of a namespace.
pub fn namespace(object: &PartialObjectMeta<k8s::Namespace>) -> Versioned<BTreeMap<String, String>> {
    let labels = object.metadata.labels.clone().unwrap_or_default();
    Versioned::new(&object.metadata, Some(labels))
}

/// What an agent reports; nothing before its first report.
pub fn node_state(object: &DynamicObject) -> Versioned<NodeState> {
    let reported = object.data.get("status").is_some_and(|status| !status.is_null());
    Versioned::new(
        &object.metadata,
        reported.then(|| NodeState(parse_field(&object.data, "status"))),
    )
}

/// What a slice says.
pub fn peer_set(object: &DynamicObject) -> Versioned<PeerSet> {
    let owners = object.metadata.owner_references.iter().flatten();
    let owner = owners
        .filter(|owner| owner.kind == "XdpPolicy")
        .map(|owner| Owner {
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
        .next();
    Versioned::new(
        &object.metadata,
        Some(PeerSet {
            owner,
            spec: parse_field(&object.data, "spec").ok(),
        }),
    )
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self {
            reason: accepted::INVALID_SPEC,
            message: format!("{error}; `kubectl explain xdppolicy.spec` shows what can stand there"),
        }
    }
}

impl From<&PolicyError> for Refusal {
    fn from(error: &PolicyError) -> Self {
        let PolicyError {
            field, value, fault, ..
        } = error;
        Self {
            reason: accepted::INVALID_SPEC,
            message: format!("`{field}` is `{value}`: {fault}; {}", fault.remedy()),
        }
    }
}

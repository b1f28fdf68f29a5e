//! Converts objects of the API to what the operator needs of them. An invalid object becomes a value that
//! says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as k8s;
use kube::core::{DynamicObject, PartialObjectMeta};
use xdp_client::object::{FieldError, Versioned, parse_field};
use xdp_crds::{
    PEER_SET_LABEL, XdpNodeStateStatus, XdpPeerSetSpec, XdpPolicy, XdpPolicySpec, XdpPolicyStatus,
    conditions::accepted,
    pod::Pod,
    policy::{MarkMask, Policy, PolicyError},
};

use super::{LabelPool, LabelSet, SlimPod};

/// A policy, valid or not.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyObject {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether the policy is being deleted. The operator writes nothing for it then.
    pub deleting: bool,
    /// The validated policy, or why it is refused.
    pub content: Result<Policy, Refusal>,
    /// The stored status; `None` if it is absent or invalid.
    pub status: Option<XdpPolicyStatus>,
}

impl PolicyObject {
    /// Refuses the policy if it has a mark outside the mask.
    pub fn check_marks(&mut self, mask: MarkMask) {
        let valid = self.content.as_ref().ok();
        if let Some(Err(error)) = valid.map(|policy| policy.check_marks(mask)) {
            self.content = Err(Refusal::from(&error));
        }
    }
}

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`accepted`].
    pub reason: &'static str,
    /// The field, what is wrong with it, and the remedy.
    pub message: String,
}

/// What the operator needs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Whether the node is unreachable: its condition Ready is Unknown.
    pub unreachable: bool,
    /// `status.nodeInfo.bootID`; empty if absent.
    pub boot_id: String,
    /// The IP addresses in `status.addresses`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
}

/// The state that an agent reports, or why it is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedState(pub Result<XdpNodeStateStatus, FieldError>);

impl ReportedState {
    /// Returns whether the state is from before the last restart of the node. `false` if one of the boot ids
    /// is absent.
    pub fn is_of_another_boot(&self, boot_id: &str) -> bool {
        let reported = self.0.as_ref().map_or("", |state| state.boot_id.as_str());
        !reported.is_empty() && !boot_id.is_empty() && reported != boot_id
    }
}

/// What the operator needs of a pod that can receive packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.labels`.
    pub labels: LabelSet,
    /// The pod's own addresses, at least one.
    pub addresses: Box<[IpAddr]>,
    /// `spec.nodeName`.
    pub node: Box<str>,
}

impl PodFacts {
    /// Returns `None` for a pod that cannot receive packets: it has no addresses of its own.
    pub fn new(pod: &Pod, labels: &mut LabelPool) -> Option<Self> {
        pod.is_addressable().then(|| Self {
            labels: labels.labels(&pod.labels),
            addresses: pod.addresses.as_slice().into(),
            node: pod.node.as_str().into(),
        })
    }
}

/// A stored slice of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSlice {
    /// The value of the label by which agents select the set.
    pub set: Option<String>,
    /// The content; `None` if it is invalid.
    pub spec: Option<XdpPeerSetSpec>,
}

/// Converts a policy.
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

/// Converts a pod. A pod with an invalid address has no value.
pub fn pod(object: SlimPod) -> Versioned<Pod> {
    let object = object.into_pod();
    Versioned::new(&object.metadata, Pod::try_from(&object).ok())
}

/// Converts a node.
pub fn node(object: &k8s::Node) -> Versioned<NodeInfo> {
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
    let listed = object
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    let addresses = listed.filter_map(|address| Some(address.address.parse::<IpAddr>().ok()?.to_canonical()));
    let spec = object.spec.as_ref();
    let cidrs = spec.and_then(|spec| spec.pod_cidrs.as_ref());
    let cidrs = cidrs
        .into_iter()
        .flatten()
        .chain(spec.and_then(|spec| spec.pod_cidr.as_ref()));
    let pod_cidrs: BTreeSet<IpNet> = cidrs
        .filter_map(|cidr| Some(cidr.parse::<IpNet>().ok()?.trunc()))
        .collect();
    let facts = NodeInfo {
        addresses: addresses.collect(),
        pod_cidrs: pod_cidrs.into_iter().collect(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        unreachable,
        boot_id,
    };
    Versioned::new(&object.metadata, Some(facts))
}

/// Converts a namespace to its labels.
pub fn namespace(object: &PartialObjectMeta<k8s::Namespace>) -> Versioned<BTreeMap<String, String>> {
    let labels = object.metadata.labels.clone().unwrap_or_default();
    Versioned::new(&object.metadata, Some(labels))
}

/// Converts the state that an agent reports. Before the first report, it has no value.
pub fn node_state(object: &DynamicObject) -> Versioned<ReportedState> {
    let reported = object.data.get("status").is_some_and(|status| !status.is_null());
    Versioned::new(
        &object.metadata,
        reported.then(|| ReportedState(parse_field(&object.data, "status"))),
    )
}

/// Converts a slice.
pub fn peer_set(object: &DynamicObject) -> Versioned<StoredSlice> {
    let labels = object.metadata.labels.as_ref();
    Versioned::new(
        &object.metadata,
        Some(StoredSlice {
            set: labels.and_then(|labels| labels.get(PEER_SET_LABEL)).cloned(),
            spec: parse_field(&object.data, "spec").ok(),
        }),
    )
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self {
            reason: accepted::INVALID_SPEC,
            message: format!("{error}; `kubectl explain xdppolicy.spec` shows the valid values"),
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

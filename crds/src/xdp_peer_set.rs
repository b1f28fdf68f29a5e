//! [`XdpPeerSet`]: the addresses behind a source that selects pods.

use std::net::IpAddr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, schema, selector::LabelSelector};

/// A slice of the addresses of the pods that one source of a policy selects. The operator writes it for the
/// agents, so that no agent watches the pods of other nodes. It is deleted with its policy.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "xdp-operator.io",
    version = "v1alpha1",
    kind = "XdpPeerSet",
    plural = "xdppeersets",
    shortname = "xps",
    category = "xdp",
    namespaced,
    derive = "PartialEq",
    doc = "XdpPeerSet has a slice of the addresses of the pods that one source of an XdpPolicy selects. Written by \
           the operator for the agents; nothing for users to write.",
    printcolumn = r#"{"name": "Policy", "type": "string", "jsonPath": ".spec.policy", "description": "The policy of the source"}"#,
    printcolumn = r#"{"name": "Slice", "type": "integer", "jsonPath": ".spec.slice", "description": "Number of this slice, from 0"}"#,
    printcolumn = r#"{"name": "Slices", "type": "integer", "jsonPath": ".spec.slices", "description": "Number of slices of the source"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Pods", "type": "string", "jsonPath": ".spec.peer.podSelector", "description": "Pod selector", "priority": 1}"#,
    printcolumn = r#"{"name": "Namespaces", "type": "string", "jsonPath": ".spec.peer.namespaceSelector", "description": "Namespace selector; empty: the policy's own namespace", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::peer_set_spec()))]
pub struct XdpPeerSetSpec {
    /// Name of the policy, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub policy: String,
    /// The selectors, as in the policy.
    pub peer: PeerSelector,
    /// Number of this slice, from 0.
    pub slice: u32,
    /// Number of slices. Only the value in slice 0 counts; in other slices it is larger than their own
    /// number.
    pub slices: u32,
    /// Addresses of pods, each once; at most 1,000.
    #[serde(default)]
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<IpAddr>,
}

/// A source of a policy that selects pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::peer_selector()))]
pub struct PeerSelector {
    /// Namespaces. Absent: the policy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods in them. Absent or `{}`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

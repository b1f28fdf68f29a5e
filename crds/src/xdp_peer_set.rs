//! [`XdpPeerSet`]: the addresses behind a selector peer.

use std::net::IpAddr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, schema, selector::LabelSelector};

/// A slice of the addresses of the pods that one peer of a policy selects. Written by the operator for the agents, so
/// that no agent needs to watch the pods of other nodes. Goes with its policy.
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
    doc = "XdpPeerSet holds a slice of the addresses of the pods that one peer of an XdpPolicy selects. Written by \
           the operator for the agents; nothing for users to write.",
    printcolumn = r#"{"name": "Policy", "type": "string", "jsonPath": ".spec.policy", "description": "The policy whose peer it is"}"#,
    printcolumn = r#"{"name": "Slice", "type": "integer", "jsonPath": ".spec.slice", "description": "Number of this slice, from 0"}"#,
    printcolumn = r#"{"name": "Slices", "type": "integer", "jsonPath": ".spec.slices", "description": "How many slices the peer has"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Pods", "type": "string", "jsonPath": ".spec.peer.podSelector", "description": "Which pods", "priority": 1}"#,
    printcolumn = r#"{"name": "Namespaces", "type": "string", "jsonPath": ".spec.peer.namespaceSelector", "description": "In which namespaces; empty: the policy's own", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::peer_set_spec()))]
pub struct XdpPeerSetSpec {
    /// Name of the policy, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub policy: String,
    /// The selectors as the policy has them.
    pub peer: PeerSelector,
    /// Number of this slice, from 0.
    pub slice: u32,
    /// How many slices there are: slice 0 says it for all, the others only that there are more than their own number.
    pub slices: u32,
    /// Addresses of pods, without repetition; at most 1,000.
    #[serde(default)]
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<IpAddr>,
}

/// A peer of a policy that selects pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::peer_selector()))]
pub struct PeerSelector {
    /// Namespaces; absent: the policy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods in them; absent or `{}`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

//! [`XdpPeerSet`]: the addresses behind a selector peer.

use std::net::IpAddr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector::LabelSelector;

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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct XdpPeerSetSpec {
    /// Name of the policy, in the same namespace.
    pub policy: String,
    /// The selectors as the policy has them.
    pub peer: PeerSelector,
    /// Number of this slice, from 0.
    pub slice: u32,
    /// How many slices there are; slice 0 says it for all.
    pub slices: u32,
    /// Addresses of pods, without repetition; at most 1,000.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
}

/// A peer of a policy that selects pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerSelector {
    /// Namespaces; absent: the policy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods in them; absent or `{}`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

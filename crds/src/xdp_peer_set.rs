//! [`XdpPeerSet`]: the addresses behind a source that selects pods.

use std::net::IpAddr;

use ipnet::IpNet;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema};

/// The label of all slices of a set; its value is the [`SetId`](crate::policy::SetId). Agents select the sets
/// that they need by it.
pub const PEER_SET_LABEL: &str = "xdp-operator.io/peer-set";

/// A slice of the addresses of the pods that sources of policies select: one set for each distinct selection
/// in the cluster. The operator writes it for the agents, so that no agent watches the pods
/// of other nodes. It is in the namespace of the operator, which no user of the cluster needs to read: its
/// addresses are those of pods in any namespace.
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
    doc = "XdpPeerSet has a slice of the addresses of the pods that sources of XdpPolicies select. There is one set for \
           each distinct selection. Written by the operator for the agents; nothing for users to write.",
    printcolumn = r#"{"name": "Selection", "type": "string", "jsonPath": ".spec.selection", "description": "The pods that the set includes"}"#,
    printcolumn = r#"{"name": "Slice", "type": "integer", "jsonPath": ".spec.slice", "description": "Number of this slice, from 0"}"#,
    printcolumn = r#"{"name": "Slices", "type": "integer", "jsonPath": ".spec.slices", "description": "Number of slices of the set"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::peer_set_spec()))]
pub struct XdpPeerSetSpec {
    /// The selection, for people: `pods {app in (game)} of namespaces {team in (a,b)}`; shortened if it is
    /// very long. The label `xdp-operator.io/peer-set` identifies it.
    #[schemars(length(min = 1, max = limits::SELECTION_TEXT))]
    pub selection: String,
    /// Number of this slice, from 0.
    pub slice: u32,
    /// Number of slices. Only the value in slice 0 counts; in other slices it is larger than their own
    /// number.
    pub slices: u32,
    /// Addresses of pods, each once; at most 1,000.
    #[serde(default)]
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<IpAddr>,
    /// Networks, of the set with the ranges of the cluster only; at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::cluster_networks")]
    pub networks: Vec<IpNet>,
}

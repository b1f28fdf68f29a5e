//! The API of xdp-operator: its types, and their validated forms ([`policy`], [`pod`]); and the policies of
//! Kubernetes that the fast path honours ([`network_policy`]).
//!
//! The types contain only what is implemented; an unknown field is an error. As in the types of Kubernetes,
//! number types are wider than the valid range, so that the validation can answer an invalid number with that
//! range.
#![forbid(unsafe_code)]

mod cel;
pub mod conditions;
mod definition;
mod hash;
pub mod limits;
pub mod network_policy;
pub mod pod;
pub mod policy;
pub mod report;
mod schema;
mod selector;
mod status;
mod xdp_node_state;
mod xdp_peer_set;
mod xdp_policy;

pub use definition::{crds, to_yaml};
pub use hash::sha256;
/// The number or the name of a port.
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use status::Ratio;
pub use xdp_node_state::{
    NetworkPolicyRestriction, NetworkPolicyState, NicMode, NicReplyPath, NicState, NodeSummary, PodState,
    PolicyState, XdpNodeState, XdpNodeStateSpec, XdpNodeStateStatus,
};
pub use xdp_peer_set::{PEER_SET_LABEL, XdpPeerSet, XdpPeerSetSpec};
pub use xdp_policy::{
    Delivery, Enforcement, IngressRule, IpBlock, LimitPer, NetworkPolicyMode, Peer, Port, Protocol,
    RateLimit, RuleAction, XdpPolicy, XdpPolicySpec, XdpPolicyStatus,
};

/// The API group of all types in this crate.
pub const GROUP: &str = "xdp-operator.io";
/// The version of all types in this crate.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of manifests.
pub const API_VERSION: &str = "xdp-operator.io/v1alpha1";

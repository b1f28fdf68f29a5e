//! The API of xdp-operator: its types, and what they mean once validated ([`policy`], [`pod`]).
//!
//! What users write, and nothing that does not work yet: an unknown field is an error. Numbers are wider than
//! what is valid, as in Kubernetes' own types, so that a bad one reaches the validation and gets an answer
//! that says what is allowed.
#![forbid(unsafe_code)]

mod cel;
pub mod conditions;
mod definition;
pub mod limits;
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
/// A port's number or name.
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use status::Ratio;
pub use xdp_node_state::{
    NicMode, NicReplyPath, NicState, NodeSummary, PodState, PolicyState, XdpNodeState, XdpNodeStateSpec,
    XdpNodeStateStatus,
};
pub use xdp_peer_set::{PeerSelector, XdpPeerSet, XdpPeerSetSpec};
pub use xdp_policy::{
    Delivery, Enforcement, IngressRule, IpBlock, LimitPer, Peer, Port, Protocol, RateLimit, RuleAction,
    XdpPolicy, XdpPolicySpec, XdpPolicyStatus,
};

/// The API group of all types in this crate.
pub const GROUP: &str = "xdp-operator.io";
/// The version of all types in this crate.
pub const VERSION: &str = "v1alpha1";
/// What manifests write as `apiVersion`.
pub const API_VERSION: &str = "xdp-operator.io/v1alpha1";

//! The API types of xdp-operator.
//!
//! What users write, and nothing that does not work yet: an unknown field is an error. Numbers are wider than what
//! is valid, as in Kubernetes' own types, so that a bad one reaches the validation and gets an answer that says what
//! is allowed.
#![forbid(unsafe_code)]

mod selector;
mod xdp_policy;

pub use selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use xdp_policy::{
    Enforcement, IngressRule, IpBlock, Peer, Port, Protocol, RuleAction, XdpPolicy, XdpPolicySpec,
};

/// The API group of all types in this crate.
pub const GROUP: &str = "xdp-operator.io";
/// The version of all types in this crate.
pub const VERSION: &str = "v1alpha1";
/// What manifests write as `apiVersion`.
pub const API_VERSION: &str = "xdp-operator.io/v1alpha1";

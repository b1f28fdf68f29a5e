//! Policies that cannot be read.

use thiserror::Error;

use super::PolicyName;
use crate::{
    policy::{Fault, PodSelection, SelectedNamespaces, Selector, fault::FieldFault},
    report::Problem,
};

/// A policy that cannot be read. What it allows is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{policy}: `{field}` is `{value}`: {fault}")]
pub struct NetworkPolicyError {
    /// The policy.
    pub policy: PolicyName,
    /// The path of the field: `spec.subject`.
    pub field: String,
    /// The value of the field.
    pub value: String,
    /// The fault.
    pub fault: NetworkPolicyFault,
}

/// A fault of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkPolicyFault {
    /// A label selector is invalid.
    #[error("{0}")]
    Selector(Fault),
    /// The operator of a label selector is unknown.
    #[error("not an operator of label selectors")]
    Operator,
    /// The tier is unknown.
    #[error("not a tier")]
    Tier,
    /// The priority is out of range.
    #[error("not a priority")]
    Priority,
    /// The object is not of the known version of its kind.
    #[error("{0}")]
    Shape(String),
}

/// A fault at a field, before the policy is known.
pub(super) struct Unreadable {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) fault: NetworkPolicyFault,
}

impl Unreadable {
    pub(super) fn new(field: impl Into<String>, value: &impl ToString, fault: NetworkPolicyFault) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            fault,
        }
    }

    pub(super) fn of(self, policy: PolicyName) -> Box<NetworkPolicyError> {
        let Self { field, value, fault } = self;
        Box::new(NetworkPolicyError {
            policy,
            field,
            value,
            fault,
        })
    }
}

impl From<FieldFault> for Unreadable {
    fn from(FieldFault { field, value, fault }: FieldFault) -> Self {
        let fault = NetworkPolicyFault::Selector(fault);
        Self { field, value, fault }
    }
}

impl NetworkPolicyError {
    /// Returns the pods that the policy may select: those of its namespace, or all pods.
    pub fn may_select(&self) -> PodSelection {
        let namespaces = match &self.policy.namespace {
            Some(namespace) => SelectedNamespaces::Named(namespace.clone()),
            None => SelectedNamespaces::Labelled(Selector::default()),
        };
        PodSelection {
            namespaces,
            pods: Selector::default(),
        }
    }
}

impl NetworkPolicyFault {
    /// Returns the reason, as a constant in CamelCase.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Selector(fault) => fault.reason(),
            Self::Operator => "BadOperator",
            Self::Tier => "BadTier",
            Self::Priority => "BadPriority",
            Self::Shape(_) => "UnknownFields",
        }
    }
}

impl From<&NetworkPolicyError> for Problem {
    fn from(error: &NetworkPolicyError) -> Self {
        let NetworkPolicyError {
            policy,
            field,
            value,
            fault,
        } = error;
        Self::new(
            policy.to_string(),
            fault.reason(),
            format!(
                "`{field}` is `{value}`: {fault}; the policy may select any pod it could, and packets of Redirect rules \
                 for these pods pass to the stack"
            ),
            "correct the policy, or update xdp-operator if it is valid",
        )
    }
}

//! Conditions on a pod and its namespace, to which the languages of all engines are translated. What is not
//! known is neither true nor false.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use xdp_crds::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};

use super::super::Labels;

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Always,
    /// It depends on what is not known.
    Unknown,
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// A test of a value. It does not hold if there is no value.
    Test(Key, Test),
}

/// A value of a pod or of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A label of the pod.
    Pod(String),
    /// A label of the pod's namespace.
    Namespace(String),
    /// The label of the pod with the first name, or else that of its namespace with the second.
    Inherited(String, String),
    /// The name of the pod's namespace.
    NamespaceName,
    /// One value for all pods.
    Fixed(&'static str),
    /// No pod has it.
    Absent,
    /// It is not known.
    Unknown,
    /// Like another one, but the engine may not know it.
    Filtered(Box<Self>),
}

/// The agent does not know a value.
struct NotKnown;

/// A test of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Exists,
    In(BTreeSet<String>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
}

/// A pod.
pub(super) struct Endpoint<'a> {
    pub(super) namespace: &'a str,
    /// Labels of the namespace, if they are known.
    pub(super) of_namespace: Option<&'a Labels>,
    pub(super) labels: &'a Labels,
}

impl Expression {
    /// A condition that never holds.
    pub(super) const fn never() -> Self {
        Self::Any(Vec::new())
    }

    /// Holds for the pods of a namespace.
    pub(super) fn in_namespace(name: &str) -> Self {
        Self::Test(Key::NamespaceName, Test::In(BTreeSet::from([name.to_owned()])))
    }

    /// Translates a label selector of Kubernetes. `key` returns what a key means. `None`: it cannot be read.
    pub(super) fn of_selector(written: &Value, key: impl Fn(&str) -> Key) -> Option<Self> {
        let written = LabelSelector::deserialize(written).ok()?;
        let equal = written
            .match_labels
            .into_iter()
            .map(|(name, value)| Self::Test(key(&name), Test::In(BTreeSet::from([value]))));
        let expressions = written.match_expressions.into_iter().map(|requirement| {
            let LabelSelectorRequirement {
                key: name,
                operator,
                values,
            } = requirement;
            let test = |test| Self::Test(key(&name), test);
            match operator {
                LabelSelectorOperator::In => test(Test::In(values.into_iter().collect())),
                LabelSelectorOperator::NotIn => !test(Test::In(values.into_iter().collect())),
                LabelSelectorOperator::Exists => test(Test::Exists),
                LabelSelectorOperator::DoesNotExist => !test(Test::Exists),
            }
        });
        Some(Self::All(equal.chain(expressions).collect()))
    }

    /// Returns whether the condition holds for a pod. `None`: that is not known.
    pub(super) fn holds(&self, endpoint: &Endpoint<'_>) -> Option<bool> {
        match self {
            Self::Always => Some(true),
            Self::Unknown => None,
            Self::All(conditions) => all(conditions.iter().map(|one| one.holds(endpoint))),
            Self::Any(conditions) => {
                let none = all(conditions
                    .iter()
                    .map(|one| one.holds(endpoint).map(|holds| !holds)));
                none.map(|none| !none)
            }
            Self::Not(condition) => condition.holds(endpoint).map(|holds| !holds),
            Self::Test(Key::Filtered(key), test) => {
                // The engine may see no value, for which the test does not hold.
                let holds = endpoint.value(key).ok()?.is_some_and(|value| test.holds(value));
                if holds { None } else { Some(false) }
            }
            Self::Test(key, test) => Some(endpoint.value(key).ok()?.is_some_and(|value| test.holds(value))),
        }
    }
}

impl std::ops::Not for Expression {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

fn all(mut conditions: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    conditions
        .try_fold(Some(true), |so_far, one| match one {
            Some(false) => Err(()),
            Some(true) => Ok(so_far),
            None => Ok(None),
        })
        .unwrap_or(Some(false))
}

impl Endpoint<'_> {
    /// Returns a value, if the pod has it.
    fn value(&self, key: &Key) -> Result<Option<&str>, NotKnown> {
        let of_namespace = |name: &str| {
            let labels = self.of_namespace.ok_or(NotKnown)?;
            Ok(labels.get(name).map(String::as_str))
        };
        match key {
            Key::Pod(name) => Ok(self.labels.get(name).map(String::as_str)),
            Key::Namespace(name) => of_namespace(name),
            Key::Inherited(own, name) => match self.labels.get(own) {
                Some(value) => Ok(Some(value)),
                None => of_namespace(name),
            },
            Key::NamespaceName => Ok(Some(self.namespace)),
            Key::Fixed(value) => Ok(Some(value)),
            Key::Absent => Ok(None),
            Key::Unknown => Err(NotKnown),
            Key::Filtered(key) => self.value(key),
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::In(values) => values.contains(value),
            Self::Contains(part) => value.contains(part.as_str()),
            Self::StartsWith(start) => value.starts_with(start.as_str()),
            Self::EndsWith(end) => value.ends_with(end.as_str()),
        }
    }
}

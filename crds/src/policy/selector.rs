//! Label selectors.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, FieldFault};
use crate::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};

/// The longest name of a label key, and the longest value.
const MAX_LABEL: usize = 63;
/// The longest prefix of a label key.
const MAX_PREFIX: usize = 253;

/// A label selector. All conditions must be true; without any, it selects all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Returns whether the selector selects an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(labels))
    }

    /// Returns a label that an object must have, with its only valid value, if there is such a condition.
    /// Objects can be indexed by it.
    pub fn required(&self) -> Option<(&str, &str)> {
        self.conditions.iter().find_map(|condition| match condition {
            Condition::In(key, values) if values.len() == 1 => Some((key.as_str(), values.first()?.as_str())),
            Condition::In(..) | Condition::NotIn(..) | Condition::Exists(_) | Condition::Absent(_) => None,
        })
    }
}

impl Condition {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => !labels.get(key).is_some_and(|value| values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

pub(super) fn convert(path: &str, selector: &LabelSelector) -> Result<Selector, FieldFault> {
    let labels = selector.match_labels.iter().map(|(key, value)| {
        let field = format!("{path}.matchLabels");
        check_key(field.clone(), key)?;
        check_value(format!("{field}.{key}"), value)?;
        Ok(Condition::In(key.clone(), BTreeSet::from([value.clone()])))
    });
    let expressions = selector.match_expressions.iter().enumerate();
    let expressions = expressions
        .map(|(index, requirement)| condition(&format!("{path}.matchExpressions[{index}]"), requirement));
    let conditions = labels.chain(expressions).collect::<Result<_, _>>()?;
    Ok(Selector { conditions })
}

fn condition(path: &str, requirement: &LabelSelectorRequirement) -> Result<Condition, FieldFault> {
    use LabelSelectorOperator::{DoesNotExist, Exists, In, NotIn};
    let LabelSelectorRequirement {
        key,
        operator,
        values,
    } = requirement;
    check_key(format!("{path}.key"), key)?;
    let name = match operator {
        In => "In",
        NotIn => "NotIn",
        Exists => "Exists",
        DoesNotExist => "DoesNotExist",
    };
    let fault = match (operator, values.is_empty()) {
        (In | NotIn, true) => Some(Fault::NoValues { operator: name }),
        (Exists | DoesNotExist, false) => Some(Fault::UnexpectedValues { operator: name }),
        _ => None,
    };
    if let Some(fault) = fault {
        return Err(FieldFault::new(
            format!("{path}.values"),
            &format!("[{}]", values.join(", ")),
            fault,
        ));
    }
    for (index, value) in values.iter().enumerate() {
        check_value(format!("{path}.values[{index}]"), value)?;
    }
    let set = values.iter().cloned().collect();
    Ok(match operator {
        In => Condition::In(key.clone(), set),
        NotIn => Condition::NotIn(key.clone(), set),
        Exists => Condition::Exists(key.clone()),
        DoesNotExist => Condition::Absent(key.clone()),
    })
}

fn check_key(field: String, key: &str) -> Result<(), FieldFault> {
    if key.is_empty() {
        return Err(FieldFault::new(field, &key, Fault::NoKey));
    }
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_word(name) || !prefix.is_none_or(is_dns_name) {
        return Err(FieldFault::new(field, &key, Fault::BadLabelKey));
    }
    Ok(())
}

fn check_value(field: String, value: &str) -> Result<(), FieldFault> {
    if !value.is_empty() && !is_word(value) {
        return Err(FieldFault::new(field, &value, Fault::BadLabelValue));
    }
    Ok(())
}

/// Returns whether a text is a valid label value, name of a label or name of a rule.
pub(super) fn is_word(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

/// Returns whether a text consists of lower-case DNS labels with dots between them.
fn is_dns_name(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().all(|byte| edge(byte) || byte == b'-')
            && label.bytes().next().is_some_and(edge)
            && label.bytes().last().is_some_and(edge)
    };
    text.len() <= MAX_PREFIX && text.split('.').all(label)
}

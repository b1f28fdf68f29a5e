//! Label selectors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::fault::{Fault, FieldFault};
use crate::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};

/// The longest name of a label key, and the longest value.
const MAX_LABEL: usize = 63;
/// The longest prefix of a label key.
const MAX_PREFIX: usize = 253;

/// A label selector. All conditions must be true; without any, it selects all objects. Selectors with the
/// same conditions are equal, in whatever order and form these are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    conditions: BTreeSet<Condition>,
}

/// A condition on the labels of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// The label's key.
    pub key: String,
    /// What must be true of the label.
    pub test: LabelTest,
}

/// What a condition says of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelTest {
    /// The label has one of these values.
    In(BTreeSet<String>),
    /// The label is absent, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there, with any value.
    Exists,
    /// The label is absent.
    Absent,
}

impl Selector {
    /// Returns whether the selector selects an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(labels))
    }

    /// Returns a label that an object must have, with its only valid value, if there is such a condition.
    /// Objects can be indexed by it.
    pub fn required(&self) -> Option<(&str, &str)> {
        self.conditions
            .iter()
            .find_map(|condition| match &condition.test {
                LabelTest::In(values) if values.len() == 1 => {
                    Some((condition.key.as_str(), values.first()?.as_str()))
                }
                LabelTest::In(_) | LabelTest::NotIn(_) | LabelTest::Exists | LabelTest::Absent => None,
            })
    }

    /// Returns the conditions, in order of keys, each once.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter()
    }
}

/// Writes `app in (game), !canary, tier`, in order of keys, as the API server reads selectors.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list =
            |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.test {
            LabelTest::In(values) => write!(f, "{key} in ({})", list(values)),
            LabelTest::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            LabelTest::Exists => f.write_str(key),
            LabelTest::Absent => write!(f, "!{key}"),
        }
    }
}

impl Condition {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            LabelTest::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelTest::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
            LabelTest::Exists => value.is_some(),
            LabelTest::Absent => value.is_none(),
        }
    }
}

pub(crate) fn convert(path: &str, selector: &LabelSelector) -> Result<Selector, FieldFault> {
    let labels = selector.match_labels.iter().map(|(key, value)| {
        let field = format!("{path}.matchLabels");
        check_key(field.clone(), key)?;
        check_value(format!("{field}.{key}"), value)?;
        Ok(Condition {
            key: key.clone(),
            test: LabelTest::In(BTreeSet::from([value.clone()])),
        })
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
    Ok(Condition {
        key: key.clone(),
        test: match operator {
            In => LabelTest::In(set),
            NotIn => LabelTest::NotIn(set),
            Exists => LabelTest::Exists,
            DoesNotExist => LabelTest::Absent,
        },
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

//! A YAML document as plain data, with the place of every field.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

/// A document.
pub(super) struct Document {
    pub(super) value: Value,
    /// By path, as `spec.ingress[0].name`. The document itself is the empty path.
    places: BTreeMap<String, Place>,
}

impl Document {
    /// The place of a field, or of the innermost one around it that is there.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            match self.places.get(path) {
                Some(place) => return *place,
                None if path.is_empty() => return Place { line: 1, column: 1 },
                None => path = path.rfind(['.', '[']).map_or("", |end| &path[..end]),
            }
        }
    }

    /// The value at a path, as a person would write it; empty if it is not there.
    pub(super) fn text(&self, path: &str) -> String {
        let mut value = &self.value;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let index = step
                .strip_suffix(']')
                .and_then(|index| index.parse::<usize>().ok());
            let next = index.map_or_else(|| value.get(step), |index| value.get(index));
            let Some(next) = next else {
                return String::new();
            };
            value = next;
        }
        match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl From<Node> for Document {
    fn from(node: Node) -> Self {
        let mut places = BTreeMap::new();
        let value = flatten(node, "", &mut places);
        Self { value, places }
    }
}

fn flatten(node: Node, path: &str, places: &mut BTreeMap<String, Place>) -> Value {
    places
        .entry(path.to_owned())
        .or_insert_with(|| node.0.referenced.into());
    match node.0.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| flatten(item, &format!("{path}[{index}]"), places))
                .collect()
        }
        Raw::Map(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            let flatten = |(key, value): (Spanned<String>, Node)| {
                let path = format!("{path}{dot}{}", key.value);
                places.insert(path.clone(), key.referenced.into());
                (key.value, flatten(value, &path, places))
            };
            Value::Object(fields.into_iter().map(flatten).collect())
        }
    }
}

/// A value with its place.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Node(Spanned<Raw>);

enum Raw {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

/// A value without its place, read in the same way.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Plain::deserialize(deserializer).map(|plain| plain.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Plain(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((key, Plain(value))) = access.next_entry::<String, Plain>()? {
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Raw::Map(fields))
    }
}

/// What the YAML library has to say about a text that is none.
pub(super) fn read(text: &str) -> Result<Document, (Place, String)> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<Node>(text, options)
        .map(Document::from)
        .map_err(|error| (place_of(&error), error.to_string()))
}

/// The same without places; `None`: it is empty, or none.
pub(super) fn read_plain(text: &str) -> Option<Document> {
    let options = serde_saphyr::options! { with_snippet: false };
    let value = serde_saphyr::from_str_with_options::<Plain>(text, options)
        .ok()?
        .0;
    let places = BTreeMap::new();
    (!value.is_null()).then_some(Document { value, places })
}

fn place_of(error: &serde_saphyr::Error) -> Place {
    error.location().map_or(Place { line: 1, column: 1 }, Place::from)
}

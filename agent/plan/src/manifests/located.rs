//! Parses a YAML document to plain data, with the location of every field.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

/// Line and column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldLocation {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<Location> for FieldLocation {
    fn from(location: Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

/// A parsed document.
pub(super) struct Document {
    pub(super) value: Value,
    /// Locations by path, such as `spec.ingress[0].name`. The empty path is the document itself.
    locations: BTreeMap<String, FieldLocation>,
}

impl Document {
    /// Returns the location of a field, or of its innermost parent that exists.
    pub(super) fn location(&self, path: &str) -> FieldLocation {
        let mut path = path;
        loop {
            match self.locations.get(path) {
                Some(location) => return *location,
                None if path.is_empty() => return FieldLocation { line: 1, column: 1 },
                None => path = path.rfind(['.', '[']).map_or("", |end| &path[..end]),
            }
        }
    }

    /// Returns the value at a path as a user writes it: a string without quotes. Empty: the field is absent.
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
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }
}

impl From<Node> for Document {
    fn from(node: Node) -> Self {
        let mut locations = BTreeMap::new();
        let value = flatten(node, "", &mut locations);
        Self { value, locations }
    }
}

fn flatten(node: Node, path: &str, locations: &mut BTreeMap<String, FieldLocation>) -> Value {
    locations
        .entry(path.to_owned())
        .or_insert_with(|| node.0.referenced.into());
    match node.0.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| flatten(item, &format!("{path}[{index}]"), locations))
                .collect()
        }
        Raw::Map(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            let flatten = |(key, value): (Spanned<String>, Node)| {
                let path = format!("{path}{dot}{}", key.value);
                locations.insert(path.clone(), key.referenced.into());
                (key.value, flatten(value, &path, locations))
            };
            Value::Object(fields.into_iter().map(flatten).collect())
        }
    }
}

/// A tree of values that [`TreeVisitor`] builds.
trait Tree: Sized {
    type Key: DeserializeOwned;
    type Item: DeserializeOwned;

    fn scalar(value: Value) -> Self;
    fn list(items: Vec<Self::Item>) -> Self;
    fn map(fields: Vec<(Self::Key, Self::Item)>) -> Self;
}

/// A value with its location.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Node(Spanned<Raw>);

enum Raw {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Tree for Raw {
    type Key = Spanned<String>;
    type Item = Node;

    fn scalar(value: Value) -> Self {
        Self::Scalar(value)
    }

    fn list(items: Vec<Node>) -> Self {
        Self::List(items)
    }

    fn map(fields: Vec<(Spanned<String>, Node)>) -> Self {
        Self::Map(fields)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor(PhantomData))
    }
}

/// A value without its location.
struct Plain(Value);

impl Tree for Plain {
    type Key = String;
    type Item = Self;

    fn scalar(value: Value) -> Self {
        Self(value)
    }

    fn list(items: Vec<Self>) -> Self {
        Self(items.into_iter().map(|Self(item)| item).collect())
    }

    fn map(fields: Vec<(String, Self)>) -> Self {
        let fields = fields.into_iter().map(|(key, Self(value))| (key, value));
        Self(Value::Object(fields.collect()))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor(PhantomData))
    }
}

struct TreeVisitor<T>(PhantomData<T>);

impl<'de, T: Tree> Visitor<'de> for TreeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(T::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(T::map(fields))
    }
}

/// Parses a document, with the location of every field.
pub(super) fn read(text: &str) -> Result<Document, (FieldLocation, String)> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<Node>(text, options)
        .map(Document::from)
        .map_err(|error| (location_of(&error), error.to_string()))
}

/// Parses a document without locations, which is faster. Returns `None` for an empty or invalid document.
pub(super) fn read_plain(text: &str) -> Option<Document> {
    let options = serde_saphyr::options! { with_snippet: false };
    let value = serde_saphyr::from_str_with_options::<Plain>(text, options)
        .ok()?
        .0;
    let locations = BTreeMap::new();
    (!value.is_null()).then_some(Document { value, locations })
}

fn location_of(error: &serde_saphyr::Error) -> FieldLocation {
    error
        .location()
        .map_or(FieldLocation { line: 1, column: 1 }, FieldLocation::from)
}

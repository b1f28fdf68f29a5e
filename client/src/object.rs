//! Objects of the API: names, versions, and fields of objects whose type is not trusted.

use std::fmt;

use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ObjectMeta},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The namespace and the name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectName {
    /// Creates a name from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the name of an object.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

/// Writes `games/players`, or `node-1` for cluster-scoped objects.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object from a watch or from the answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<T> {
    /// The name of the object.
    pub name: ObjectName,
    /// `metadata.resourceVersion`: of two versions, the later one is larger.
    pub version: u64,
    /// The parts of the object that are needed. `None` if nothing of it is usable, as if the object were
    /// absent.
    pub value: Option<T>,
}

impl<T> Versioned<T> {
    /// Creates an object from its metadata and its value.
    pub fn new(meta: &ObjectMeta, value: Option<T>) -> Self {
        Self {
            name: ObjectName::of(meta),
            version: version(meta.resource_version.as_deref()),
            value,
        }
    }
}

/// Since Kubernetes 1.35, API servers promise that versions are growing numbers; they always were. If one is
/// not a number, no object counts as later than another.
fn version(resource_version: Option<&str>) -> u64 {
    resource_version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// A field that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {message}")]
pub struct FieldError {
    /// Path of the field.
    pub field: String,
    /// What is wrong with its value.
    pub message: String,
}

/// Parses the field `name` of an object. An error names the path of the innermost invalid field.
pub fn parse_field<T: DeserializeOwned>(data: &Value, name: &str) -> Result<T, FieldError> {
    let value = data.get(name).ok_or_else(|| FieldError {
        field: name.to_owned(),
        message: "is missing".to_owned(),
    })?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." => name.to_owned(),
            path => format!("{name}.{path}"),
        };
        let message = error.into_inner().to_string();
        FieldError { field, message }
    })
}

/// Returns access to the objects of one kind without their type, so that a malformed object does not hide the
/// others. An empty namespace means all namespaces.
pub fn untyped<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<K>(&());
    if namespace.is_empty() {
        Api::all_with(client.clone(), &kind)
    } else {
        Api::namespaced_with(client.clone(), namespace, &kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Spec {
        ports: Vec<u16>,
    }

    #[test]
    fn an_invalid_field_is_named_by_its_path() {
        let error = parse_field::<Spec>(&json!({"spec": {"ports": [80, "x"]}}), "spec").unwrap_err();
        assert_eq!(error.field, "spec.ports[1]");
        let missing = parse_field::<Spec>(&json!({}), "spec").unwrap_err();
        assert_eq!(missing.to_string(), "`spec`: is missing");
        let valid = parse_field::<Spec>(&json!({"spec": {"ports": [80]}}), "spec");
        assert_eq!(valid, Ok(Spec { ports: vec![80] }));
    }

    #[test]
    fn versions_are_numbers_and_0_where_they_are_not() {
        assert_eq!(version(Some("77")), 77);
        assert_eq!(version(Some("a")), 0);
        assert_eq!(version(None), 0);
    }

    #[test]
    fn names_show_a_namespace_only_if_there_is_one() {
        assert_eq!(ObjectName::new("games", "players").to_string(), "games/players");
        assert_eq!(ObjectName::new("", "node-1").to_string(), "node-1");
    }
}

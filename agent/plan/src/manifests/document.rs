//! Converts one YAML document to an object, or to an error with its location.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use serde::de::DeserializeOwned;
use serde_json::Value;
use xdp_crds::{
    API_VERSION, XdpPolicy,
    network_policy::{self, IngressPolicy, NetworkPolicyError},
};

use super::{
    ManifestError, ManifestObject, NamespaceObject, NetworkPolicyObject,
    located::{
        Document, FieldLocation, {self},
    },
};
use crate::{
    network_policy::KnownPolicy,
    pod::{DEFAULT_NAMESPACE, Pod},
    policy::{MarkMask, Policy, PolicyError},
    report::Problem,
};

/// Fields of `metadata` in any Kubernetes object.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// An error without file and line.
struct FieldError {
    field: String,
    problem: Problem,
}

/// Parses a document whose first line is `first_line` of its file. Returns `None` for an empty document.
pub(super) fn read(
    file: &str,
    first_line: u64,
    text: &str,
    marks: Option<MarkMask>,
) -> Option<Result<ManifestObject, ManifestError>> {
    let located_error = |location: FieldLocation, error: FieldError| ManifestError {
        file: file.to_owned(),
        line: location.line + first_line - 1,
        column: location.column,
        object: Some(error.problem.object).filter(|object| !object.is_empty()),
        field: error.field,
        reason: error.problem.reason,
        message: error.problem.message,
        remedy: error.problem.remedy,
    };
    // Tracking locations is most of the work, and only an error needs them.
    if let Some(object) = located::read_plain(text).and_then(|document| object(&document, marks).ok()) {
        return Some(Ok(object));
    }
    let document = match located::read(text) {
        Ok(document) => document,
        Err((location, message)) => {
            let problem = Problem::new("", "BadYaml", message, "correct the YAML syntax");
            let field = String::new();
            return Some(Err(located_error(location, FieldError { field, problem })));
        }
    };
    if document.value.is_null() {
        return None;
    }
    Some(object(&document, marks).map_err(|error| located_error(document.location(&error.field), error)))
}

fn object(document: &Document, marks: Option<MarkMask>) -> Result<ManifestObject, FieldError> {
    let api_version = document.text("apiVersion");
    let kind = document.text("kind");
    match (api_version.as_str(), kind.as_str()) {
        (API_VERSION, "XdpPolicy") => {
            policy(document, marks).map(|policy| ManifestObject::Policy(Arc::new(policy)))
        }
        ("v1", "Pod") => pod(document).map(|pod| ManifestObject::Pod(Arc::new(pod))),
        ("v1", "Namespace") => {
            namespace(document).map(|namespace| ManifestObject::Namespace(Arc::new(namespace)))
        }
        ("networking.k8s.io/v1", "NetworkPolicy") => {
            let policy = network_policy::network_policy(&typed(document)?);
            Ok(known(document, policy))
        }
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy") => Ok(known(
            document,
            of_tier(document, network_policy::cluster_network_policy),
        )),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy") => Ok(known(
            document,
            of_tier(document, network_policy::admin_network_policy),
        )),
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy") => Ok(known(
            document,
            of_tier(document, network_policy::baseline_admin_network_policy),
        )),
        _ => Err(unknown_kind(document, &api_version, &kind)),
    }
}

type ReadPolicy = Result<Option<IngressPolicy>, Box<NetworkPolicyError>>;

fn of_tier(document: &Document, convert: fn(&str, &Value) -> ReadPolicy) -> ReadPolicy {
    convert(&document.text("metadata.name"), &document.value["spec"])
}

/// Returns the object of a policy. One that cannot be read is an object, too: it may select any pod.
fn known(document: &Document, read: ReadPolicy) -> ManifestObject {
    let policy = match read {
        Ok(policy) => policy.map(|policy| KnownPolicy::Ingress(Arc::new(policy))),
        Err(error) => Some(KnownPolicy::Unreadable(Arc::new(*error))),
    };
    ManifestObject::NetworkPolicy(NetworkPolicyObject {
        name: object_name(document),
        policy,
    })
}

fn policy(document: &Document, marks: Option<MarkMask>) -> Result<Policy, FieldError> {
    check_fields(
        document,
        "",
        &["apiVersion", "kind", "metadata", "spec", "status"],
    )?;
    check_fields(document, "metadata", &METADATA)?;
    let object: XdpPolicy = typed(document)?;
    let policy = Policy::try_from(&object)?;
    if let Some(mask) = marks {
        policy.check_marks(mask)?;
    }
    Ok(policy)
}

impl From<PolicyError> for FieldError {
    fn from(error: PolicyError) -> Self {
        Self {
            problem: Problem::from(&error),
            field: error.field,
        }
    }
}

fn pod(document: &Document) -> Result<Pod, FieldError> {
    let object: k8s::Pod = typed(document)?;
    Pod::try_from(&object).map_err(|error| FieldError {
        field: error.field().to_owned(),
        problem: Problem::from(&error),
    })
}

fn namespace(document: &Document) -> Result<NamespaceObject, FieldError> {
    let metadata = typed::<k8s::Namespace>(document)?.metadata;
    let name = metadata.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| FieldError {
        field: "metadata.name".to_owned(),
        problem: Problem::new(
            "Namespace",
            "NoName",
            "`metadata.name` is ``: a name is missing",
            "give the namespace a name",
        ),
    })?;
    let labels = metadata.labels.unwrap_or_default();
    Ok(NamespaceObject { name, labels })
}

fn typed<T: DeserializeOwned>(document: &Document) -> Result<T, FieldError> {
    if let Ok(object) = T::deserialize(&document.value) {
        return Ok(object);
    }
    serde_path_to_error::deserialize(&document.value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        let cause = error.inner().to_string();
        let unknown = cause.starts_with("unknown field");
        let message = if field.is_empty() || unknown {
            format!("`{field}`: {cause}")
        } else {
            format!("`{field}` is `{}`: {cause}", document.text(&field))
        };
        let (reason, remedy) = advice(&cause);
        FieldError {
            problem: Problem::new(object_name(document), reason, message, remedy),
            field,
        }
    })
}

/// Returns reason and remedy for one of serde's messages.
fn advice(cause: &str) -> (&'static str, &'static str) {
    if cause.starts_with("unknown field") {
        ("UnknownField", "remove the field, or correct its name")
    } else if cause.starts_with("missing field") {
        ("MissingField", "add the field")
    } else if cause.starts_with("unknown variant") {
        ("UnknownValue", "use one of the values named")
    } else {
        ("BadValue", "write a value of the type that is expected")
    }
}

fn check_fields(document: &Document, path: &str, known: &[&str]) -> Result<(), FieldError> {
    let value = if path.is_empty() {
        Some(&document.value)
    } else {
        document.value.get(path)
    };
    let fields = value
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|fields| fields.keys());
    let Some(unknown) = fields.into_iter().find(|field| !known.contains(&field.as_str())) else {
        return Ok(());
    };
    let dot = if path.is_empty() { "" } else { "." };
    let field = format!("{path}{dot}{unknown}");
    let expected = known.join("`, `");
    let message = format!("`{field}`: unknown field `{unknown}`, expected one of `{expected}`");
    let (reason, remedy) = advice("unknown field");
    let problem = Problem::new(object_name(document), reason, message, remedy);
    Err(FieldError { field, problem })
}

fn unknown_kind(document: &Document, api_version: &str, kind: &str) -> FieldError {
    let field = match kind {
        "XdpPolicy"
        | "Pod"
        | "Namespace"
        | "NetworkPolicy"
        | "ClusterNetworkPolicy"
        | "AdminNetworkPolicy"
        | "BaselineAdminNetworkPolicy" => "apiVersion",
        _ => "kind",
    };
    let problem = Problem::new(
        object_name(document),
        "UnknownKind",
        format!(
            "`{field}` is `{}`: apiVersion `{api_version}` with kind `{kind}` is not supported",
            document.text(field)
        ),
        format!(
            "use `{API_VERSION}` with `XdpPolicy`, `v1` with `Pod` or `Namespace`, `networking.k8s.io/v1` with \
             `NetworkPolicy`, `policy.networking.k8s.io/v1alpha2` with `ClusterNetworkPolicy`, or \
             `policy.networking.k8s.io/v1alpha1` with `AdminNetworkPolicy` or `BaselineAdminNetworkPolicy`; one object \
             per YAML document"
        ),
    );
    FieldError {
        field: field.to_owned(),
        problem,
    }
}

fn object_name(document: &Document) -> String {
    let kind = document.text("kind");
    let name = document.text("metadata.name");
    if kind.is_empty() || name.is_empty() {
        return String::new();
    }
    let of_cluster = [
        "Namespace",
        "ClusterNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
    ];
    if of_cluster.contains(&kind.as_str()) {
        return format!("{kind} {name}");
    }
    let namespace = document.text("metadata.namespace");
    let namespace = if namespace.is_empty() {
        DEFAULT_NAMESPACE
    } else {
        &namespace
    };
    format!("{kind} {namespace}/{name}")
}

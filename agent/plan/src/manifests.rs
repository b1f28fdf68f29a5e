//! Parses manifests: YAML text to policies, pods and namespaces.

mod document;
mod located;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use thiserror::Error;

use crate::{
    network_policy::KnownPolicy,
    pod::Pod,
    policy::{MarkMask, Policy},
    report::Problem,
};

/// One object from a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestObject {
    /// `kind: XdpPolicy`.
    Policy(Arc<Policy>),
    /// `kind: Pod`.
    Pod(Arc<Pod>),
    /// `kind: Namespace`.
    Namespace(Arc<NamespaceObject>),
    /// `kind: NetworkPolicy`, or a kind of `policy.networking.k8s.io`.
    NetworkPolicy(NetworkPolicyObject),
}

/// A policy about connections to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicyObject {
    /// Kind and name, such as `NetworkPolicy games/deny-all`.
    pub name: String,
    /// The policy. `None`: it says nothing about connections to pods.
    pub policy: Option<KnownPolicy>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceObject {
    /// The name.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}

impl ManifestObject {
    /// Returns the object's kind and name, such as `XdpPolicy games/players`. [`ManifestError::object`] has
    /// this form.
    pub fn name(&self) -> String {
        match self {
            Self::Policy(policy) => policy.to_string(),
            Self::Pod(pod) => pod.to_string(),
            Self::Namespace(namespace) => format!("Namespace {}", namespace.name),
            Self::NetworkPolicy(policy) => policy.name.clone(),
        }
    }
}

/// An error in one document of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// Name of the file.
    pub file: String,
    /// Line, counted from 1.
    pub line: u64,
    /// Column, counted from 1.
    pub column: u64,
    /// The object's kind and name, such as `XdpPolicy games/players`. `None`: the document does not have
    /// them.
    pub object: Option<String>,
    /// Path of the field. Empty: the error is about the whole document.
    pub field: String,
    /// A constant in CamelCase, for machines.
    pub reason: String,
    /// What is wrong, with field and value.
    pub message: String,
    /// How to fix it.
    pub remedy: String,
}

impl From<&ManifestError> for Problem {
    fn from(error: &ManifestError) -> Self {
        let place = format!("{}:{}", error.file, error.line);
        Self::new(
            error.object.clone().unwrap_or_else(|| place.clone()),
            &error.reason,
            format!("{place}: {}", error.message),
            &error.remedy,
        )
    }
}

/// A text's length and hash. The hash is not cryptographic: the author of a manifest gains nothing from a
/// collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    bytes: usize,
    hash: u64,
}

impl Fingerprint {
    /// Computes the fingerprint of a text.
    pub fn new(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            bytes: text.len(),
            hash: hasher.finish(),
        }
    }
}

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Objects of the valid documents, in order.
    pub objects: Vec<ManifestObject>,
    /// Errors of the other documents.
    pub errors: Vec<ManifestError>,
    /// The objects by the fingerprints of their documents.
    documents: BTreeMap<Fingerprint, ManifestObject>,
    /// Policies with other marks are errors; `None`: all marks are allowed.
    marks: Option<MarkMask>,
}

impl Manifest {
    /// Returns an empty file. Once reparsed, a policy with a mark outside the mask is an error.
    pub fn with_marks(mask: MarkMask) -> Self {
        Self {
            marks: Some(mask),
            ..Self::default()
        }
    }

    /// Parses a file of YAML documents. An invalid document does not hide the others. Empty documents are
    /// skipped.
    pub fn new(file: &str, text: &str) -> Self {
        Self::default().reparse(file, text)
    }

    /// Parses the file's new text. A document whose text did not change is not parsed: its object is reused.
    #[must_use]
    pub fn reparse(&self, file: &str, text: &str) -> Self {
        let mut manifest = Self {
            marks: self.marks,
            ..Self::default()
        };
        for (first_line, document) in documents(text) {
            let fingerprint = Fingerprint::new(&document);
            let object = match self.documents.get(&fingerprint) {
                Some(object) => Some(Ok(object.clone())),
                None => document::read(file, first_line, &document, self.marks),
            };
            match object {
                Some(Ok(object)) => {
                    manifest.objects.push(object.clone());
                    manifest.documents.insert(fingerprint, object);
                }
                Some(Err(error)) => manifest.errors.push(error),
                None => {}
            }
        }
        manifest
    }
}

/// Parses a file of YAML documents, like [`Manifest::new`].
pub fn parse(file: &str, text: &str) -> (Vec<ManifestObject>, Vec<ManifestError>) {
    let Manifest { objects, errors, .. } = Manifest::new(file, text);
    (objects, errors)
}

/// Splits a text into documents, with the numbers of their first lines.
///
/// Splitting comes before parsing, so that a syntax error does not hide the other documents: in YAML, `---`
/// at the beginning of a line ends the document in any state (YAML 1.2.2, section 9.1.2).
fn documents(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(1, String::new())];
    for (number, line) in (1..).zip(text.lines()) {
        let marker = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
        if marker.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
            documents.push((number, String::new()));
        }
        if let Some((_, document)) = documents.last_mut() {
            let end_marker = line.starts_with("...");
            document.push_str(if end_marker { "" } else { line });
            document.push('\n');
        }
    }
    documents
}

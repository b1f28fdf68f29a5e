//! Manifests: YAML text to policies and pods.

mod document;
mod located;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use thiserror::Error;

use crate::{pod::Pod, policy::Policy, report::Problem};

/// One object from a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestObject {
    /// `kind: XdpPolicy`.
    Policy(Arc<Policy>),
    /// `kind: Pod`.
    Pod(Arc<Pod>),
}

impl ManifestObject {
    /// `XdpPolicy games/players`: what [`ManifestError::object`] says about the same object.
    pub fn name(&self) -> String {
        match self {
            Self::Policy(policy) => policy.to_string(),
            Self::Pod(pod) => pod.to_string(),
        }
    }
}

/// What is wrong with one document of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// `XdpPolicy games/players`, if the document came far enough to say so.
    pub object: Option<String>,
    /// Path of the field, empty if the whole document is meant.
    pub field: String,
    /// A constant in CamelCase, for machines.
    pub reason: String,
    /// What is wrong, with field and value.
    pub message: String,
    /// What to do about it.
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

/// What stands for a text: its length and a hash. Whoever writes the files has no use for two texts of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    bytes: usize,
    hash: u64,
}

impl Fingerprint {
    /// That of a text.
    pub fn new(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            bytes: text.len(),
            hash: hasher.finish(),
        }
    }
}

/// A file as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its good documents, in order.
    pub objects: Vec<ManifestObject>,
    /// What is wrong with the others.
    pub errors: Vec<ManifestError>,
    /// The good documents by what stands for their texts.
    documents: BTreeMap<Fingerprint, ManifestObject>,
}

impl Manifest {
    /// Reads a file of YAML documents. A bad document does not hide the others; an empty one is nothing.
    pub fn new(file: &str, text: &str) -> Self {
        Self::default().reparse(file, text)
    }

    /// Reads the file again: of a document whose text is still the same comes the same object, without parsing.
    #[must_use]
    pub fn reparse(&self, file: &str, text: &str) -> Self {
        let mut reading = Self::default();
        for (first_line, document) in documents(text) {
            let fingerprint = Fingerprint::new(&document);
            let object = match self.documents.get(&fingerprint) {
                Some(object) => Some(Ok(object.clone())),
                None => document::read(file, first_line, &document),
            };
            match object {
                Some(Ok(object)) => {
                    reading.objects.push(object.clone());
                    reading.documents.insert(fingerprint, object);
                }
                Some(Err(error)) => reading.errors.push(error),
                None => {}
            }
        }
        reading
    }
}

/// [`Manifest::new`], for once.
pub fn parse(file: &str, text: &str) -> (Vec<ManifestObject>, Vec<ManifestError>) {
    let Manifest { objects, errors, .. } = Manifest::new(file, text);
    (objects, errors)
}

/// The documents of a text, with the numbers of their first lines. They are split before they are parsed, so that one
/// that cannot be parsed does not take the others along: YAML ends a document at `---` at the beginning of a line,
/// whatever stands before it (YAML 1.2.2, section 9.1.2).
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

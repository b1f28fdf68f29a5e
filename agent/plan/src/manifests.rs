//! Manifests: YAML text to policies and pods.

mod document;
mod located;

use thiserror::Error;

use crate::pod::Pod;
use crate::policy::Policy;
use crate::report::Problem;

/// One object from a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// `kind: XdpPolicy`.
    Policy(Policy),
    /// `kind: Pod`.
    Pod(Pod),
}

impl Object {
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

/// Reads a file of YAML documents. A bad document does not hide the others; an empty one is nothing.
pub fn parse(file: &str, text: &str) -> (Vec<Object>, Vec<ManifestError>) {
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    for (first_line, document) in documents(text) {
        match document::read(file, first_line, &document) {
            Some(Ok(object)) => objects.push(object),
            Some(Err(error)) => errors.push(error),
            None => {}
        }
    }
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

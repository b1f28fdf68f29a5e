//! What is worth an Event: what a person should see, once.
//!
//! Events repeat what a stored status says, never more. What a status said when it was first seen has been announced
//! before, perhaps by another process; so nothing is announced again after a restart.

mod nics;
mod policies;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use nics::Nics;
pub use policies::Policies;
use xdp_client::object::ObjectName;

/// A failure that goes away sooner is not announced: pods come and go.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An Event to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Kind of the object it is about.
    pub kind: &'static str,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// The object.
    pub name: ObjectName,
    /// Its uid.
    pub uid: String,
    /// Whether somebody should do something.
    pub warning: bool,
    /// A constant in CamelCase.
    pub reason: String,
    /// What the operator did when it noticed, as a constant.
    pub action: &'static str,
    /// For a person; at most 1,024 bytes.
    pub text: String,
    /// What makes it another Event than others about the same object.
    pub topic: String,
}

/// The longest text that an Event can carry.
const LONGEST_TEXT: usize = 1024;

/// As much of a text as an Event can carry.
fn bounded(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST_TEXT - '…'.len_utf8());
    format!("{}…", &text[..end])
}

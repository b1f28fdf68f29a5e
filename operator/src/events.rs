//! Events of the API, for people.
//!
//! An Event repeats what a stored status says, and nothing else. A status that is present when it is first
//! read has had its Event already, perhaps from another process, so a restart does not repeat Events.

mod nics;
mod policies;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use nics::NicEvents;
pub use policies::PolicyEvents;
use xdp_client::object::ObjectName;

/// A failure that is shorter than this has no Event: pods come and go.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An Event to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// Kind of the object concerned.
    pub kind: &'static str,
    /// `apiVersion` of the object.
    pub api_version: &'static str,
    /// Name of the object.
    pub name: ObjectName,
    /// Uid of the object.
    pub uid: String,
    /// Whether the type is Warning: a person has to act.
    pub warning: bool,
    /// The reason, as a constant in CamelCase.
    pub reason: String,
    /// What the operator did, as a constant in CamelCase.
    pub action: &'static str,
    /// What has happened, for a person. At most 1,024 bytes.
    pub message: String,
    /// Distinguishes Events of one object. An Event with an equal topic and reason counts as a repetition.
    pub topic: String,
}

/// The longest message of an Event, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// Shortens a text to the longest message of an Event.
fn bounded(text: &str) -> String {
    if text.len() <= LONGEST_MESSAGE {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST_MESSAGE - '…'.len_utf8());
    format!("{}…", &text[..end])
}

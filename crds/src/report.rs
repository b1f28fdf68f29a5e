//! What the agent could not do, for a person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is not as the user wants it. Everything else goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What it is about: `XdpPolicy games/players`, `Pod games/server-0`, `NIC eth1`, `policy.yaml:12`.
    pub object: String,
    /// A constant in CamelCase, for machines.
    pub reason: String,
    /// What is wrong, with the values that matter.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem from its parts.
    pub fn new(
        object: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            object: object.into(),
            reason: reason.into(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

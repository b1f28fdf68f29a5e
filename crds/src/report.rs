//! What the agent cannot do, for a person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that prevents what the user wants. It affects nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The object concerned: `XdpPolicy games/players`, `Pod games/server-0`, `NIC eth1`, `policy.yaml:12`.
    pub object: String,
    /// The reason, as a constant in CamelCase.
    pub reason: String,
    /// What is wrong, with the values that matter.
    pub message: String,
    /// How to fix it.
    pub remedy: String,
}

impl Problem {
    /// Creates a problem from its parts.
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

    /// Creates a problem of the NIC called `name`.
    pub fn of_nic(
        name: &str,
        reason: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(format!("{NIC}{name}"), reason, message, remedy)
    }

    /// Returns kind and namespace of the object: what problems of one owner have in common.
    pub fn scope(&self) -> &str {
        self.object.split('/').next().unwrap_or_default()
    }

    /// Returns the name of the NIC concerned; `None` if the problem is of another object.
    pub fn nic(&self) -> Option<&str> {
        self.object.strip_prefix(NIC)
    }
}

/// Start of `object` in the problems of a NIC.
const NIC: &str = "NIC ";

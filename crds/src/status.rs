//! What statuses are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many there are, and how many of them are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// How many there are that the policy selects.
    pub selected: u32,
    /// On how many of them it is in force.
    pub programmed: u32,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// A constant in CamelCase, for machines.
    pub reason: String,
    /// What is wrong, with the values that matter.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

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

//! Types that several statuses use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of selected objects, and number of these that are programmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// Number of objects that the policy selects.
    pub selected: u32,
    /// Number of these on which the policy is programmed.
    pub programmed: u32,
}

//! The label selector of Kubernetes. As everywhere in this API, an unknown field is an error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema};

/// Selects objects by their labels. All conditions must be true; without any (`{}`) it selects all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::label_selector()))]
pub struct LabelSelector {
    /// Labels that an object must have, with exactly these values; at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels, which must all be true; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::EXPRESSIONS), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::label_requirement()))]
pub struct LabelSelectorRequirement {
    /// Key of the label, as `app` or `example.com/role`.
    #[schemars(schema_with = "schema::label_key")]
    pub key: String,
    /// Relation of the label to `values`. `In`: it exists, with one of them. `NotIn`: it does not exist, or
    /// has another value. `Exists`, `DoesNotExist`: with any value.
    pub operator: LabelSelectorOperator,
    /// 1 to 64 values for `In` and `NotIn`; none for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_values")]
    pub values: Vec<String>,
}

/// Relation of a label to a requirement's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelSelectorOperator {
    /// The label exists, with one of the values.
    In,
    /// The label does not exist, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
}

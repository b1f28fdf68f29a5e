//! Schemas that a derive cannot say.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{cel, limits};

/// `[prefix/]name`, as Kubernetes has it.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// As Kubernetes has it: empty is a value too.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Words of letters and digits with a hyphen between them, a letter in one of them at least.
const PORT_NAME: &str = "^([a-z0-9]+-)*[a-z0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$";

pub(crate) fn network(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": limits::NETWORK_TEXT,
        "x-kubernetes-validations": cel::network(),
    })
}

pub(crate) fn networks(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": network(generator),
        "maxItems": limits::EXCEPTS,
        "x-kubernetes-list-type": "atomic",
    })
}

pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "string",
            "maxLength": limits::ADDRESS_TEXT,
            "x-kubernetes-validations": cel::address(),
        },
        "maxItems": limits::ADDRESSES,
        "x-kubernetes-list-type": "atomic",
    })
}

/// A number or a name: limits on numbers bind only numbers, those on texts only texts. No rule in CEL looks
/// at the name, because API servers before Kubernetes 1.34 take it to be as long as a request can be.
pub(crate) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maximum": 65535,
        "maxLength": crate::policy::MAX_PORT_NAME,
        "pattern": PORT_NAME,
    })
}

pub(crate) fn rule_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": crate::policy::MAX_RULE_NAME,
        "x-kubernetes-validations": cel::rule_name(),
    })
}

pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        "maxProperties": limits::LABELS,
    })
}

pub(crate) fn label_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 317, "pattern": LABEL_KEY})
}

pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        "maxItems": limits::VALUES,
        "x-kubernetes-list-type": "atomic",
    })
}

/// `metav1.Condition`, in our words and with its own limits.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One statement about the policy.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What the statement is about: `Accepted` or `Programmed`.",
                    "minLength": 1,
                    "maxLength": 316,
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "Why, as a constant in CamelCase; the API reference lists them.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "Why, for a person: which nodes, what is in the way, what to do.",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The `metadata.generation` of the policy that the statement is about; if it is \
                                    less than the policy's, the statement is about an older version.",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When `status` changed last.",
                },
            },
        },
    })
}

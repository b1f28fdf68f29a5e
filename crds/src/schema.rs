//! Schemas that cannot be derived.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{cel, limits};

/// `[prefix/]name`, as in Kubernetes.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// As in Kubernetes. An empty value is valid.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Letters and digits, with single hyphens between them, and at least one letter.
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

pub(crate) fn cluster_networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": limits::NETWORK_TEXT},
        "maxItems": limits::ADDRESSES,
        "x-kubernetes-list-type": "atomic",
    })
}

/// A number or a name. Limits of numbers apply only to numbers, limits of texts only to texts. No rule in CEL
/// reads the name, because API servers before Kubernetes 1.34 assume that it is as long as a request can be.
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

/// `metav1.Condition`, with descriptions and limits for this API.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "A condition of the policy.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "Type of the condition: `Accepted`, `Programmed` or `Ready`.",
                    "minLength": 1,
                    "maxLength": 316,
                },
                "status": {
                    "type": "string",
                    "description": "Status of the condition.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "The reason, as a constant in CamelCase. The API reference lists the reasons.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "Explanation of the reason, for people: the nodes, the problem, and the remedy.",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The `metadata.generation` of the policy that the condition describes. If it is less than \
                                    the current one, the condition describes an older version.",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When `status` last changed.",
                },
            },
        },
    })
}

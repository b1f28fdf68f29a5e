//! The parts of `policy.networking.k8s.io` that are read: `ClusterNetworkPolicy` of `v1alpha2`,
//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` of `v1alpha1`. An unknown field is an error. Lists
//! are read item by item, because an unknown field in one says nothing about the others.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::LabelSelector;

/// `ClusterNetworkPolicySpec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterSpec {
    pub(super) tier: String,
    pub(super) priority: i64,
    pub(super) subject: Value,
    #[serde(default)]
    pub(super) ingress: Vec<Value>,
    #[serde(default, rename = "egress")]
    _egress: IgnoredAny,
}

/// `AdminNetworkPolicySpec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminSpec {
    pub(super) priority: i64,
    pub(super) subject: Value,
    #[serde(default)]
    pub(super) ingress: Vec<Value>,
    #[serde(default, rename = "egress")]
    _egress: IgnoredAny,
}

/// `BaselineAdminNetworkPolicySpec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaselineSpec {
    pub(super) subject: Value,
    #[serde(default)]
    pub(super) ingress: Vec<Value>,
    #[serde(default, rename = "egress")]
    _egress: IgnoredAny,
}

/// A subject, or a peer of an ingress rule: exactly one field is set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPeer {
    pub(super) namespaces: Option<LabelSelector>,
    pub(super) pods: Option<NamespacedPods>,
}

/// `NamespacedPod`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamespacedPods {
    #[serde(default)]
    pub(super) namespace_selector: LabelSelector,
    pub(super) pod_selector: LabelSelector,
}

/// An ingress rule of any of the kinds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRule {
    #[serde(default, rename = "name")]
    _name: IgnoredAny,
    pub(super) action: WrittenAction,
    #[serde(default)]
    pub(super) from: Vec<Value>,
    #[serde(alias = "protocols")]
    pub(super) ports: Option<Vec<Value>>,
}

/// `ClusterNetworkPolicyRuleAction` and `AdminNetworkPolicyRuleAction`.
#[derive(Clone, Copy, Deserialize)]
pub(super) enum WrittenAction {
    Accept,
    Allow,
    Deny,
    Pass,
}

/// `ClusterNetworkPolicyProtocol`: exactly one field is set.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterPort {
    pub(super) tcp: Option<ClusterPorts>,
    pub(super) udp: Option<ClusterPorts>,
    pub(super) sctp: Option<ClusterPorts>,
    pub(super) destination_named_port: Option<String>,
}

/// `ClusterNetworkPolicyProtocolTCP`, and those of the other protocols.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterPorts {
    pub(super) destination_port: Numbers,
}

/// `Port`: exactly one field is set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numbers {
    pub(super) number: Option<i64>,
    pub(super) range: Option<NumberRange>,
}

/// `PortRange`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumberRange {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// `AdminNetworkPolicyPort`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum AdminPort {
    #[serde(rename_all = "camelCase")]
    PortNumber {
        #[serde(default)]
        protocol: WrittenProtocol,
        port: i64,
    },
    #[serde(rename_all = "camelCase")]
    PortRange {
        #[serde(default)]
        protocol: WrittenProtocol,
        start: i64,
        end: i64,
    },
    NamedPort(String),
}

/// `v1.Protocol`.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum WrittenProtocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

//! [`XdpPolicy`]: what happens to packets for a set of pods before the kernel's network stack sees them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema, selector::LabelSelector, status::Ratio};

mod rule;

pub use rule::{IngressRule, IpBlock, LimitPer, Peer, Port, Protocol, RateLimit, RuleAction};

/// What happens to packets that arrive on a node's NICs for the selected pods, before the network stack sees them.
///
/// A pod's rules are those of all policies that select it, ordered by `priority`, then creation time, then name;
/// inside a policy in the order written. The first rule that matches decides. A packet that no rule matches passes to
/// the stack, as if there were no policy. A pod can have any number of policies; how much a node has room for in all is
/// in the agent's documentation, and a policy that does not fit says so in its status (`LimitExceeded`).
///
/// Never considered, and so always passed: ARP, IPv6 neighbour discovery, DHCP, and what cannot be parsed. ICMP
/// "fragmentation needed" and ICMPv6 "packet too big" are matched only by rules that name their protocol, so that
/// no catch-all Drop breaks path MTU discovery. Pods with `hostNetwork` are never targets.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "xdp-operator.io",
    version = "v1alpha1",
    kind = "XdpPolicy",
    plural = "xdppolicies",
    shortname = "xp",
    namespaced,
    category = "xdp",
    status = "XdpPolicyStatus",
    derive = "PartialEq",
    doc = "XdpPolicy says what happens to packets that arrive on the nodes' NICs for a set of pods, before the nodes' \
           network stack sees them: redirected straight into the pod, passed to the stack, dropped, or rejected.",
    printcolumn = r#"{"name": "Pods", "type": "integer", "jsonPath": ".status.pods.selected", "description": "Pods that the policy selects"}"#,
    printcolumn = r#"{"name": "Nodes", "type": "integer", "jsonPath": ".status.nodes.selected", "description": "Nodes that run them"}"#,
    printcolumn = r#"{"name": "Ready", "type": "integer", "jsonPath": ".status.nodes.programmed", "description": "Nodes on which the policy is in force, read back from the kernel"}"#,
    printcolumn = r#"{"name": "Enforcement", "type": "string", "jsonPath": ".spec.enforcement", "description": "Whether rules act, or only count"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status", "description": "Whether the policy is valid"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status", "description": "Whether it is in force everywhere"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Priority", "type": "integer", "jsonPath": ".spec.priority", "description": "Policies with a smaller number come first", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason", "description": "Why it is in force, or why not", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].message", "description": "The same for a person", "priority": 1}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::policy_spec()))]
pub struct XdpPolicySpec {
    /// Which pods of the policy's namespace are targets. `{}` selects all of them. Pods with `hostNetwork` never are.
    pub pod_selector: LabelSelector,
    /// On which nodes the policy applies, by the nodes' labels. Absent or `{}`: on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Orders the policies that select the same pod: the one with the smaller number comes first. 0 to 1000, 500 by
    /// default. Among equals the older one comes first, then the one whose name sorts first.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Whether rules act on packets. `Enforce` (the default): they do. `Audit`: they count what they would have done,
    /// and the packet passes to the node's network stack.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// How redirected packets reach the pod. `Redirect` (the default): by XDP alone, before the kernel makes a packet
    /// buffer of them; the fastest way for datagrams and short flows. `Peer`: the kernel makes the buffer and merges
    /// segments first, then the packet is moved straight into the pod, past the rest of the node's network stack; the
    /// better way for bulk TCP, and the only one on NICs without native XDP, if the administrator allowed those. Rules,
    /// marks and counters are the same for both.
    #[serde(default)]
    pub delivery: Delivery,
    /// Rules for packets to the selected pods, in order: the first that matches decides. A packet that none matches
    /// passes to the node's network stack, as if there were no policy. At most 100; more go into further policies.
    ///
    /// Limits beyond that are those of a node, for all policies of its pods together. A policy that a node has no room
    /// for is refused there whole (`LimitExceeded`; the message names the limit and what counts towards it), the others
    /// keep working.
    #[serde(default)]
    #[schemars(
        length(max = limits::RULES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub ingress: Vec<IngressRule>,
}

const fn default_priority() -> i32 {
    500
}

/// Whether rules act on packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// Rules act.
    #[default]
    Enforce,
    /// Rules count what they would have done, and pass the packet.
    Audit,
}

/// How redirected packets reach the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// By XDP alone.
    #[default]
    Redirect,
    /// By the NIC's tc hook, after the kernel has made packet buffers and merged segments.
    Peer,
}

/// What is in force of a policy, summed up over all nodes. Per-node details are in the `XdpNodeState`s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XdpPolicyStatus {
    /// `Accepted`: the policy is valid. `Programmed`: it is in force, read back from the kernel, on every selected
    /// node, for every selected pod. The API reference lists their reasons.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Nodes that match `nodeSelector` and run selected pods.
    #[serde(default)]
    pub nodes: Ratio,
    /// Running pods that `podSelector` selects, on those nodes.
    #[serde(default)]
    pub pods: Ratio,
}

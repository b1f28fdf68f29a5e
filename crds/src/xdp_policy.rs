//! [`XdpPolicy`]: rules for packets to a set of pods, applied before the kernel's network stack.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema, selector::LabelSelector, status::Ratio};

mod rule;

pub use rule::{IngressRule, IpBlock, LimitPer, Peer, Port, Protocol, RateLimit, RuleAction};

/// Rules for packets that arrive on a node's NICs for the selected pods, applied before the node's network
/// stack sees them.
///
/// A pod's rules are those of all policies that select it, ordered by `priority`, then creation time, then
/// name; inside a policy in the order written. The first rule that matches decides. A packet that no rule
/// matches passes to the stack, as if there were no policy. A pod can have any number of policies. The limits
/// of a node are in the agent's documentation; a policy that exceeds one has the reason `LimitExceeded` in
/// its status.
///
/// Considered are packets that arrive on a NIC of the node that the administrator selected, with a pod's own
/// address as their destination. All others meet no rule: packets of pods and processes on the same node,
/// which cross no NIC; packets to a NodePort, a `hostPort`, or the address of a Service or load balancer,
/// which the node's network stack translates later; packets inside a tunnel of an overlay network. A policy
/// whose pods have a `hostPort` says so in its status.
///
/// Some packets meet no rule and always pass: ARP, IPv6 neighbour discovery and DHCP. A packet that cannot be
/// parsed to its ports is dropped if a rule that could match it says Drop or Reject or has a rate limit;
/// otherwise it passes. ICMP "fragmentation needed" and ICMPv6 "packet too big" are matched only by rules
/// that name their protocol, so that a catch-all Drop does not break path MTU discovery. Pods with
/// `hostNetwork` are never targets.
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
    doc = "XdpPolicy has rules for packets that arrive on the nodes' NICs for a set of pods. They apply before the node's \
           network stack sees a packet: it is redirected straight into the pod, passed to the stack, dropped, or \
           rejected. Packets that do not arrive on such a NIC, or not for a pod's own address, meet no rule: those of \
           pods and processes on the same node; those to a NodePort, a hostPort, or the address of a Service or load \
           balancer; those inside a tunnel of an overlay network.",
    printcolumn = r#"{"name": "Pods", "type": "integer", "jsonPath": ".status.pods.selected", "description": "Pods that the policy selects"}"#,
    printcolumn = r#"{"name": "Nodes", "type": "integer", "jsonPath": ".status.nodes.selected", "description": "Nodes that run them"}"#,
    printcolumn = r#"{"name": "Nodes-Programmed", "type": "integer", "jsonPath": ".status.nodes.programmed", "description": "Nodes on which the policy is programmed, read back from the kernel"}"#,
    printcolumn = r#"{"name": "Enforcement", "type": "string", "jsonPath": ".spec.enforcement", "description": "Whether rules act or only count"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status", "description": "Whether the policy is valid"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status", "description": "Whether it is programmed on every selected node"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Priority", "type": "integer", "jsonPath": ".spec.priority", "description": "Policies with a smaller number come first", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason", "description": "Reason of the condition Programmed", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].message", "description": "Message of the condition Programmed", "priority": 1}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::policy_spec()))]
pub struct XdpPolicySpec {
    /// Target pods in the policy's namespace. `{}` selects all of them. Pods with `hostNetwork` are never
    /// targets.
    pub pod_selector: LabelSelector,
    /// Nodes on which the policy applies, by their labels. Absent or `{}`: all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Order of the policies that select a pod: the one with the smaller number comes first. 0 to 1000, 500
    /// by default. Of policies with equal numbers, the older one comes first, then the one whose name
    /// sorts first. It does not decide which policies a full node takes.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Whether rules act on packets. `Enforce` (the default): they do. `Audit`: they only count, and the
    /// packet passes to the node's network stack.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// How redirected packets reach the pod. `Redirect` (the default): by XDP alone, before the kernel
    /// allocates a socket buffer; the fastest way for datagrams and short flows. `Peer`: the kernel
    /// allocates the socket buffer and merges segments, then moves the packet straight into the pod,
    /// past the rest of the node's network stack; the better way for bulk TCP, and the only one on NICs
    /// without native XDP, if the administrator allows those. Rules, marks and counters are equal for
    /// both.
    #[serde(default)]
    pub delivery: Delivery,
    /// Whether packets that Redirect rules match are redirected only as NetworkPolicies allow. `Honour` (the
    /// default): a packet is redirected only if every policy that selects the pod certainly allows it; all
    /// others pass to the node's network stack, where the cluster's network policy engine decides. `Ignore`:
    /// packets are redirected whatever these policies say. `Ignore` needs the administrator's consent.
    #[serde(default)]
    pub network_policy: NetworkPolicyMode,
    /// Rules for packets to the selected pods, in order: the first rule that matches decides. A packet that
    /// no rule matches passes to the node's network stack, as if there were no policy. At most 100; use
    /// more policies for more rules.
    ///
    /// A node has further limits, shared out by namespace: each one has a part for sure, and what is free
    /// may be borrowed. A node refuses a policy that does not fit as a whole (`LimitExceeded`; the message
    /// names the limit, the share and the use). What is programmed comes before what is new, except
    /// borrowed room that its owner needs: then the newest policies of the borrower are refused.
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
    /// Rules only count, and the packet passes.
    Audit,
}

/// How redirected packets reach the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// By XDP alone.
    #[default]
    Redirect,
    /// By the NIC's tc hook, after the kernel has allocated the socket buffer and merged segments.
    Peer,
}

/// What NetworkPolicies mean for redirects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// Only packets that they certainly allow are redirected.
    #[default]
    Honour,
    /// They do not restrict redirects.
    Ignore,
}

/// Summary of what is programmed of the policy on all nodes. The details of each node are in its
/// `XdpNodeState`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XdpPolicyStatus {
    /// The `metadata.generation` of the policy that this status describes. If it is less than the current
    /// one, the status describes an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the policy is valid. `Programmed`: it is programmed, and read back from the kernel, on
    /// every selected node, for every selected pod. `Ready`: both, with reason and message of the one that
    /// decides. `NetworkPolicyHonoured`, if rules redirect: only packets that NetworkPolicies certainly
    /// allow are redirected; the message names those that keep packets of how many pods away. The API
    /// reference lists the reasons.
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

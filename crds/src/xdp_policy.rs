//! [`XdpPolicy`]: what happens to packets for a set of pods before the kernel's network stack sees them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector::LabelSelector;
use crate::status::Ratio;

/// What happens to packets that arrive on a node's NICs for the selected pods, before the network stack sees them.
///
/// A pod's rules are those of all policies that select it, ordered by `priority`, then creation time, then name;
/// inside a policy in the order written. The first rule that matches decides. A packet that no rule matches passes to
/// the stack, as if there were no policy. At most 64 entries per pod (see `ingress`).
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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct XdpPolicySpec {
    /// Which pods of the policy's namespace are targets. `{}` selects all of them.
    pub pod_selector: LabelSelector,
    /// On which nodes the policy applies. Absent or `{}`: on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Policies with a smaller number come first: 0 to 1000, 500 by default.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Whether rules act on packets. Enforce by default.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Rules for packets to the selected pods; the first match decides.
    ///
    /// Every peer of a rule takes one entry per port of the rule, and one per `except`; a pod has room for 64 entries
    /// from all its policies. A policy that does not fit is refused whole, the others keep working.
    #[serde(default)]
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

/// One rule. It matches when any of its peers and any of its ports match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressRule {
    /// Name of the rule, unique in the policy: counters are shown by it. 1 to 63 letters, digits, `-`, `_` and `.`,
    /// beginning and ending with a letter or digit.
    pub name: String,
    /// Sources; empty or absent means any source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Peer>,
    /// Protocols and destination ports; empty or absent means any. A fragment other than the first carries no ports,
    /// so only rules without `ports` match it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// What happens to a packet that matches.
    pub action: RuleAction,
    /// Mark of the redirected packet, 0 to 4294967295: the socket in the pod reads it with `SO_RCVMARK`, netfilter
    /// and routing in the pod see it as the packet's mark. Absent: the mark stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub mark: Option<i64>,
}

/// A source of packets: either addresses (`ipBlock`) or pods (`podSelector`, `namespaceSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// Addresses the packet may come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
    /// Namespaces of the pods that the packet may come from; absent: the policy's own namespace, `{}`: all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods that the packet may come from, in those namespaces; absent or `{}`: all pods there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A range of addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpBlock {
    /// Network in CIDR notation without host bits: `198.51.100.0/24`, `2001:db8::/32`. `0.0.0.0/0` is all of IPv4,
    /// `::/0` all of IPv6.
    pub cidr: String,
    /// Parts of `cidr` that are left out, of the same family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// A protocol, with a destination port or a range of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// Destination port, 0 to 65535; only with TCP, UDP and SCTP. Absent: any port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,
    /// Last port of the range that begins with `port`, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub end_port: Option<i32>,
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
    /// ICMP (protocol 1), as IPv4 uses it.
    #[serde(rename = "ICMP")]
    Icmp,
    /// ICMP for IPv6 (protocol 58).
    #[serde(rename = "ICMPv6")]
    Icmpv6,
}

/// What happens to a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// Straight into the pod's interface, past the node's network stack. Where that is not possible (the frame is
    /// longer than the pod's MTU, the pod's interface takes no redirects …) the packet passes to the stack.
    Redirect,
    /// To the node's network stack, as without a policy.
    Pass,
    /// Nowhere.
    Drop,
}

/// What is in force of a policy, summed up over all nodes. Per-node details are in the `XdpNodeState`s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XdpPolicyStatus {
    /// `Accepted`: the policy is valid. `Programmed`: it is in force, read back from the kernel, on every selected
    /// node, for every selected pod.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Nodes that run selected pods.
    #[serde(default)]
    pub nodes: Ratio,
    /// Selected pods.
    #[serde(default)]
    pub pods: Ratio,
}

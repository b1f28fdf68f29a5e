//! One rule of a policy.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema, selector::LabelSelector};

/// One rule. It matches when any of its peers and any of its ports match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::ingress_rule()))]
pub struct IngressRule {
    /// Name of the rule, unique in the policy: counters are shown by it. 1 to 63 letters, digits, `-`, `_` and `.`,
    /// beginning and ending with a letter or digit.
    #[schemars(schema_with = "schema::rule_name")]
    pub name: String,
    /// Where packets come from: any of these. Empty or absent: from anywhere. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PEERS), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<Peer>,
    /// Protocols and destination ports: any of these. Empty or absent: any protocol and port. At most 64. A fragment
    /// other than the first carries no ports, nor a type of ICMP, so only rules without `ports` match it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PORTS), extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<Port>,
    /// What happens to a packet that matches.
    ///
    /// `Redirect`: straight into the pod's interface, past the node's network stack (see `delivery`); so do the pod's
    /// replies leave. Where that is not possible (the frame is longer than the pod's MTU, the pod's interface takes no
    /// redirects, the flow began in the stack …) the packet passes to the stack.
    ///
    /// `Pass`: to the node's network stack, as without a policy.
    ///
    /// `Drop`: nowhere; the sender learns nothing and waits for its timeout.
    ///
    /// `Reject`: nowhere, and the sender is told at once: TCP by a reset ("connection refused"), everything else by
    /// ICMP or ICMPv6 "administratively prohibited". Never told are resets, errors of ICMP, fragments, and packets from
    /// or to a broadcast or multicast address; these are only dropped. A node sends at most 1,000 such answers per
    /// second in all (the administrator can change that); beyond, packets are dropped without an answer and counted.
    pub action: RuleAction,
    /// Mark of the redirected packet, 0 to 4294967295, only with `action: Redirect`: the socket in the pod reads it with
    /// `SO_RCVMARK`, netfilter and routing in the pod see it as the packet's mark. Absent: the mark stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub mark: Option<i64>,
    /// Most packets per second that the rule redirects or passes; more are dropped, and counted as limited. Only with
    /// `action: Redirect` and `action: Pass`. Absent: no limit. With `enforcement: Audit` no limit is consulted.
    ///
    /// Every node limits by itself what arrives there: on three nodes three times as much gets through in all. On a node
    /// it is one limit for all pods that the policy selects, whatever NIC and CPU their packets arrive at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A limit in packets per second, for each node by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Packets per second that get through in the long run: 1 to 100000000.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub packets_per_second: i64,
    /// Packets that get through at once after a pause: 1 to 10000000. Absent: a tenth of `packetsPerSecond`, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<i64>,
    /// What shares the limit. `Rule` (the default): all packets that the rule matches. `Source`: each source address has
    /// the limit for itself; in IPv6, too, it is the address that counts, although a sender may have a whole network.
    ///
    /// A node keeps the limits of 65,536 sources at a time, for all rules together, each from its first packet until
    /// `burst` / `packetsPerSecond` seconds after its last. When there is no room for another, those that are kept stay
    /// kept, and newcomers share one limit of the same rate until there is room again: a flood from forged addresses
    /// does not displace the honest ones. Packets judged that way are counted (`SourceLimitTableFull` in the metrics).
    #[serde(default)]
    pub per: LimitPer,
}

/// What shares a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum LimitPer {
    /// All packets that the rule matches.
    #[default]
    Rule,
    /// Packets of one source address.
    Source,
}

/// A source of packets: either addresses (`ipBlock`) or pods (`podSelector`, `namespaceSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::peer()))]
pub struct Peer {
    /// Addresses that the packet may come from. Not together with selectors.
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
#[schemars(extend("x-kubernetes-validations" = cel::ip_block()))]
pub struct IpBlock {
    /// Network in CIDR notation without host bits: `198.51.100.0/24`, `2001:db8::/32`. `0.0.0.0/0` is all of IPv4,
    /// `::/0` all of IPv6, `198.51.100.7/32` a single address.
    #[schemars(schema_with = "schema::network")]
    pub cidr: String,
    /// Networks inside `cidr` that are left out: packets from there do not match this peer. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::networks")]
    pub except: Vec<String>,
}

/// A protocol, with a destination port or a range of them, or with a type of ICMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::port()))]
pub struct Port {
    /// The protocol above IP. `ICMP` is that of IPv4, `ICMPv6` that of IPv6.
    pub protocol: Protocol,
    /// Destination port; only with TCP, UDP and SCTP. Absent: any port. Either a number, 0 to 65535, or the name of a
    /// container port: 1 to 15 lower-case letters, digits and hyphens, with at least one letter, beginning and ending
    /// with a letter or digit, no two hyphens in a row.
    ///
    /// A name means, for each selected pod, the `containerPort` that has this name and this protocol in its own
    /// containers (the first, should there be several). On a pod that has none it matches nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port")]
    pub port: Option<IntOrString>,
    /// Last port of the range that begins with `port`, inclusive; `port` to 65535. Not with a port name. Absent: only
    /// `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub end_port: Option<i32>,
    /// Type of the message, 0 to 255; only with ICMP and ICMPv6: 8 is the echo request of ICMP, 128 that of ICMPv6.
    /// Absent: any type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub kind: Option<i32>,
    /// Code of the message, 0 to 255; only with `type`. Absent: any code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub code: Option<i32>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// Straight into the pod's interface, past the node's network stack. Where that is not possible (the frame is
    /// longer than the pod's MTU, the pod's interface takes no redirects …) the packet passes to the stack.
    Redirect,
    /// To the node's network stack, as without a policy.
    Pass,
    /// Nowhere.
    Drop,
    /// Nowhere, and the sender is told.
    Reject,
}

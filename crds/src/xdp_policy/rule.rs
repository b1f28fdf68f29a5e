//! One rule of a policy.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, limits, schema, selector::LabelSelector};

/// One rule. It matches a packet if one of its sources and one of its ports match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::ingress_rule()))]
pub struct IngressRule {
    /// Name of the rule, unique in the policy. Counters have it as a label. 1 to 63 letters, digits, `-`,
    /// `_` and `.`, beginning and ending with a letter or digit.
    #[schemars(schema_with = "schema::rule_name")]
    pub name: String,
    /// Sources of packets; one of them must match. Empty or absent: any source. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PEERS), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<Peer>,
    /// Protocols and destination ports; one of them must match. Empty or absent: any protocol and port. At
    /// most 64. A fragment other than the first has neither ports nor an ICMP type, so only rules
    /// without `ports` match it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PORTS), extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<Port>,
    /// What happens to a packet that matches.
    ///
    /// `Redirect`: it goes straight into the pod's interface, past the node's network stack (see
    /// `delivery`), and so do the pod's replies. If that is not possible (the frame is longer than the
    /// pod's MTU, the pod's interface does not take redirects, the flow began in the stack …), or the
    /// administrator does not permit redirects in the namespace (the status says `NotPermitted`), the
    /// packet passes to the stack.
    ///
    /// `Pass`: it goes to the node's network stack, as without a policy.
    ///
    /// `Drop`: it is dropped. The sender gets no answer and waits for its timeout.
    ///
    /// `Reject`: it is dropped, and the sender gets an answer at once: TCP a reset ("connection refused"),
    /// all other protocols ICMP or ICMPv6 "administratively prohibited". Resets, ICMP errors, fragments,
    /// and packets from or to a broadcast or multicast address are dropped without an answer. A node
    /// sends at most 1,000 answers per second in all (the administrator can change that). Half of them are
    /// shared out equally to the namespaces with such rules on the node; all of these share the other
    /// half. Packets beyond that are dropped without an answer and counted.
    pub action: RuleAction,
    /// Mark of the redirected packet, 0 to 4294967295; only with `action: Redirect`. A socket in the pod
    /// reads it with `SO_RCVMARK`; netfilter and routing in the pod see it as the packet's mark. Absent:
    /// the mark is not changed.
    ///
    /// The administrator allows some bits (the chart's `allowedMarkMask`; 0x7f by default): a policy with
    /// another bit in a mark is refused, and all other bits of the packet's mark stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub mark: Option<i64>,
    /// Limit of the packets per second that the rule redirects or passes. Packets beyond it are dropped and
    /// counted as limited. Only with `action: Redirect` and `action: Pass`. Absent: no limit.
    /// `enforcement: Audit` uses no limit.
    ///
    /// Each node has its own limit, so three nodes let through three times as much in all. On a node it is
    /// one limit for all pods that the policy selects, for all NICs and CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A limit in packets per second, on each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::rate_limit()))]
pub struct RateLimit {
    /// Packets per second that pass on average: 1 to 100000000.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub packets_per_second: i64,
    /// Packets that pass at once after a pause: 1 to 10000000, and at most 60 times `packetsPerSecond`.
    /// Absent: a tenth of `packetsPerSecond`, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<i64>,
    /// Packets that share the limit. `Rule` (the default): all packets that the rule matches. `Source`: all
    /// packets of one source. A source is an IPv4 address, or an IPv6 network of 64 bits: a host can choose
    /// the other half of its address.
    ///
    /// A node keeps the limits of 65,536 sources at a time, each from its first packet until `burst` /
    /// `packetsPerSecond` seconds after its last, a minute at most. Namespaces share this room out: each one
    /// whose rules limit sources on the node has an equal part for sure, 64 sources at least, and more while
    /// other namespaces leave it. If the room of a namespace is full, existing limits stay, and new sources
    /// of a rule share one limit of the same rate until there is room again: a flood from forged
    /// addresses does not displace existing sources, and takes no room from other namespaces. The event
    /// `SourceLimitTableFull` in the metrics counts the packets of such new sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LimitPer")]
    pub per: Option<LimitPer>,
}

/// Packets that share a rate limit.
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
    /// Source addresses. Not together with selectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
    /// Namespaces of the source pods. Absent: the policy's own namespace. `{}`: all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Source pods in those namespaces. Absent or `{}`: all pods there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A range of addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::ip_block()))]
pub struct IpBlock {
    /// Network in CIDR notation without host bits: `198.51.100.0/24`, `2001:db8::/32`. `0.0.0.0/0` is all of
    /// IPv4, `::/0` all of IPv6, `198.51.100.7/32` a single address.
    #[schemars(schema_with = "schema::network")]
    pub cidr: String,
    /// Networks inside `cidr` that are excluded: packets from there do not match this source. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::networks")]
    pub except: Vec<String>,
}

/// A protocol, with a destination port or a range of ports, or with an ICMP type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::port()))]
pub struct Port {
    /// The protocol above IP. `ICMP` is that of IPv4, `ICMPv6` that of IPv6.
    pub protocol: Protocol,
    /// Destination port; only with TCP, UDP and SCTP. Absent: any port. Either a number, 0 to 65535, or the
    /// name of a container port: 1 to 15 lower-case letters, digits and hyphens, with at least one
    /// letter, beginning and ending with a letter or digit, no two hyphens in a row.
    ///
    /// For each selected pod, a name means the `containerPort` with this name and this protocol in its own
    /// containers (the first one, if there are several). In a pod without such a port it matches
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port")]
    pub port: Option<IntOrString>,
    /// Last port of the range that begins with `port`, inclusive; `port` to 65535. Not with a port name.
    /// Absent: only `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub end_port: Option<i32>,
    /// Type of the message, 0 to 255; only with ICMP and ICMPv6: 8 is the echo request of ICMP, 128 that of
    /// ICMPv6. Absent: any type.
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

impl Protocol {
    /// Returns the name, as in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
            Self::Icmpv6 => "ICMPv6",
        }
    }
}

/// What happens to a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// It goes straight into the pod's interface, past the node's network stack. If that is not possible (the
    /// frame is longer than the pod's MTU, the pod's interface does not take redirects …), the packet
    /// passes to the stack.
    Redirect,
    /// It goes to the node's network stack, as without a policy.
    Pass,
    /// It is dropped.
    Drop,
    /// It is dropped, and the sender gets an answer.
    Reject,
}

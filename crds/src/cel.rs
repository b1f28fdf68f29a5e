//! Validation rules in CEL, which the API server evaluates, and their messages.
//!
//! The rules are equivalent to the validation in [`crate::policy`]. The agent validates again, because
//! policies from files do not pass an API server. The API server estimates the highest cost of each rule from
//! the bounds in [`crate::limits`], and refuses a CRD whose rules could cost too much. So the rules parse a
//! network as rarely as possible, and the messages are constant: a message with a value counts as unbounded.
//! The CIDR library needs Kubernetes 1.31. There, `==` of two networks counts as unbounded too, but `in` with
//! a list of one network counts as one step.

use serde_json::{Value, json};

/// A network in CIDR notation. The CIDR library refuses IPv4-mapped networks.
pub(crate) fn network() -> Value {
    json!([
        {
            "rule": "isCIDR(self)",
            "message": "not a network in CIDR notation: write an address and a prefix length, as 198.51.100.0/24 or \
                        2001:db8::/32; for a single address 198.51.100.7/32 or 2001:db8::7/128; an IPv4-mapped IPv6 \
                        network as IPv4",
        },
        {
            "rule": "!isCIDR(self) || cidr(self) in [cidr(self).masked()]",
            "message": "bits are set beyond the prefix: write the network's own address (198.51.100.0/24, not \
                        198.51.100.7/24), or a longer prefix",
        },
    ])
}

/// A network with exceptions. `containsCIDR` cannot be used: in Kubernetes 1.31 it is true only for
/// exceptions that start with the address of the network.
pub(crate) fn ip_block() -> Value {
    json!([{
        "rule": "!has(self.except) || !isCIDR(self.cidr) || [cidr(self.cidr)].all(c, self.except.all(e, \
                 !isCIDR(e) || (c.containsIP(cidr(e).ip()) && c.prefixLength() <= cidr(e).prefixLength())))",
        "message": "not inside cidr: remove it, or use a network of the same address family inside cidr",
        "fieldPath": ".except",
    }])
}

/// A source.
pub(crate) fn peer() -> Value {
    json!([
        {
            "rule": "has(self.ipBlock) || has(self.podSelector) || has(self.namespaceSelector)",
            "message": "neither addresses nor a selector: add ipBlock, podSelector or namespaceSelector; for any \
                        source leave out `from`",
            "reason": "FieldValueRequired",
        },
        {
            "rule": "!has(self.ipBlock) || !(has(self.podSelector) || has(self.namespaceSelector))",
            "message": "addresses and selectors in one peer: write them as two peers",
        },
    ])
}

/// A protocol with ports, or with types of messages.
pub(crate) fn port() -> Value {
    json!([
        {
            "rule": "self.protocol in ['TCP', 'UDP', 'SCTP'] || !(has(self.port) || has(self.endPort))",
            "message": "ICMP and ICMPv6 have no ports: remove `port` and `endPort`, or use TCP, UDP or SCTP; for a type \
                        of message use `type`",
        },
        {
            "rule": "!(self.protocol in ['TCP', 'UDP', 'SCTP']) || !(has(self.type) || has(self.code))",
            "message": "only ICMP and ICMPv6 have types and codes: remove `type` and `code`, or use ICMP or ICMPv6",
        },
        {
            "rule": "!has(self.code) || has(self.type) || self.protocol in ['TCP', 'UDP', 'SCTP']",
            "message": "code without type: add `type`, the type of the message",
            "reason": "FieldValueRequired",
            "fieldPath": ".type",
        },
        {
            "rule": "!has(self.endPort) || has(self.port) || !(self.protocol in ['TCP', 'UDP', 'SCTP'])",
            "message": "endPort without port: add `port`, the first port of the range",
            "reason": "FieldValueRequired",
            "fieldPath": ".port",
        },
        {
            "rule": "!has(self.endPort) || !has(self.port) || type(self.port) == int",
            "message": "endPort with the name of a port: remove `endPort`, or use numbers",
            "reason": "FieldValueForbidden",
            "fieldPath": ".endPort",
        },
        {
            "rule": "!has(self.endPort) || !has(self.port) || type(self.port) == string || self.endPort >= self.port",
            "message": "less than port: use the last port of the range, from `port` to 65535",
            "fieldPath": ".endPort",
        },
    ])
}

/// A rate limit.
pub(crate) fn rate_limit() -> Value {
    json!([{
        "rule": "!has(self.burst) || self.burst <= 60 * self.packetsPerSecond",
        "message": "more than packetsPerSecond lets through in a minute: use at most 60 times packetsPerSecond",
        "fieldPath": ".burst",
    }])
}

/// The name of a rule.
pub(crate) fn rule_name() -> Value {
    json!([{
        "rule": "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
        "message": "not a valid rule name: use 1 to 63 letters, digits, `-`, `_` and `.`, beginning and ending with \
                    a letter or digit",
    }])
}

/// A rule.
pub(crate) fn ingress_rule() -> Value {
    json!([{
        "rule": "!has(self.mark) || self.action == 'Redirect'",
        "message": "only redirected packets carry a mark: remove the mark, or use `action: Redirect`",
        "reason": "FieldValueForbidden",
        "fieldPath": ".mark",
    },
    {
        "rule": "!has(self.rateLimit) || self.action in ['Redirect', 'Pass']",
        "message": "only packets that are redirected or passed can be limited: remove the rate limit, or use `action: \
                    Redirect` or `action: Pass`",
        "reason": "FieldValueForbidden",
        "fieldPath": ".rateLimit",
    }])
}

/// All rules of a policy. The list type `map` by name refuses duplicates as well, but without a remedy. The
/// reason `FieldValueDuplicate` would omit the message.
pub(crate) fn policy_spec() -> Value {
    json!([{
        "rule": "!has(self.ingress) || self.ingress.all(r, self.ingress.exists_one(s, s.name == r.name))",
        "message": "two rules have the same name: give each rule of the policy a unique name",
        "fieldPath": ".ingress",
    }])
}

/// Labels with their values.
pub(crate) fn label_selector() -> Value {
    json!([{
        "rule": "!has(self.matchLabels) || !('' in self.matchLabels)",
        "message": "an empty label key: name the label",
        "fieldPath": ".matchLabels",
    }])
}

/// One condition on a label.
pub(crate) fn label_requirement() -> Value {
    json!([
        {
            "rule": "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
            "message": "In and NotIn need values: add a value, or use Exists or DoesNotExist",
            "reason": "FieldValueRequired",
            "fieldPath": ".values",
        },
        {
            "rule": "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0",
            "message": "Exists and DoesNotExist take no values: remove the values, or use In or NotIn",
            "reason": "FieldValueForbidden",
            "fieldPath": ".values",
        },
    ])
}

/// An address.
pub(crate) fn address() -> Value {
    json!([{
        "rule": "isIP(self)",
        "message": "not an IP address: write an address without a prefix length, as 192.0.2.7 or 2001:db8::7",
    }])
}

/// A slice of the addresses of a selection.
pub(crate) fn peer_set_spec() -> Value {
    json!([{
        "rule": "self.slice < self.slices",
        "message": "not less than slices: use a number from 0 to slices - 1",
        "fieldPath": ".slice",
    }])
}

//! The explanation of a packet, as text and as JSON.

use std::fmt;

use serde::Serialize;
use xdp_core::{
    tables::{ActionRecord, TICK_SHIFT},
    verdict::Kind,
};

use crate::report::explain::{packet::ProbePacket, rules::RuleMatch};

/// What happens to a packet, and why. Also the JSON of `xdp-agent explain`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The packet.
    pub packet: ProbePacket,
    /// `namespace/name` of the destination pod, if there is one.
    pub pod: Option<String>,
    /// The verdict: the name of a [`Kind`].
    pub verdict: String,
    /// The reason of a fallback or another event.
    pub reason: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<DecidingRule>,
    /// The rules that drop a packet which cannot be parsed, because they could match it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub could_match: Vec<DecidingRule>,
    /// Whether the policy has `enforcement: Audit`.
    pub audit: bool,
    /// The rate limit of the rule. It is not evaluated.
    pub limit: Option<RuleLimit>,
    /// The policy, such as a NetworkPolicy, because of which a packet is not redirected, and the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<String>,
    /// The rules before the one that decided, or all rules if none decided. Absent if they are unknown.
    pub before: Option<Vec<RuleMatch>>,
    /// Notes about the explanation.
    pub notes: Vec<String>,
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidingRule {
    /// Its id in metadata and tables.
    pub id: u32,
    /// Namespace of its policy.
    pub namespace: String,
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub rule: String,
}

impl fmt::Display for DecidingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            namespace,
            policy,
            rule,
        } = self;
        write!(f, "{rule} of XdpPolicy {namespace}/{policy} (id {id})")
    }
}

/// A rate limit, as in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleLimit {
    /// The rate.
    pub packets_per_second: u64,
    /// The burst size in packets.
    pub burst: u64,
    /// Whether each source has a limit of its own.
    pub per_source: bool,
}

impl RuleLimit {
    /// Returns the limit of an action, if it has one.
    pub fn of(record: &ActionRecord) -> Option<Self> {
        const NANOSECONDS: u64 = 1_000_000_000;
        let per_source = record.flags & ActionRecord::LIMIT_SOURCE != 0;
        if (record.flags & ActionRecord::LIMIT_RULE == 0 && !per_source) || record.interval == 0 {
            return None;
        }
        Some(Self {
            packets_per_second: (NANOSECONDS << TICK_SHIFT) / record.interval,
            burst: record.window / record.interval,
            per_source,
        })
    }
}

/// Describes a verdict for people.
pub(super) const fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Unparsed => "passes to the stack: it cannot be parsed, and no rule that drops could match it",
        Kind::UnparsedDrop => "is dropped: it cannot be parsed, and a rule that drops could match it",
        Kind::NotConsidered => "passes to the stack: its destination has no rules, or it is control traffic",
        Kind::Foreign => "passes to the stack: it is not a frame that the node's stack takes from the NIC",
        Kind::NoMatch => "passes to the stack: no rule matches",
        Kind::Pass => "passes to the stack, as the rule says",
        Kind::Audit => "passes to the stack: the policy has enforcement Audit",
        Kind::Drop => "is dropped",
        Kind::Redirect => "is redirected into the pod",
        Kind::Peer => "is redirected into the pod at the tc ingress of the NIC (delivery Peer)",
        Kind::FallBack => "passes to the stack, although the rule says Redirect",
        Kind::Reject => "is rejected: dropped, and the sender gets an answer",
        Kind::RejectedSilently => "is rejected: dropped, and the sender gets no answer",
        Kind::Limited => "is dropped: the rule's rate limit is exceeded",
        Kind::OwnConnection => "passes to the stack: it belongs to a connection that the pod opened",
        Kind::Drained => "is delivered to the pod: no rule redirects it, but it belongs to a tracked flow",
    }
}

/// Renders an explanation for people.
pub(super) struct ExplanationText<'a>(pub(super) &'a Explanation, pub(super) Kind);

impl fmt::Display for ExplanationText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(answer, kind) = self;
        writeln!(f, "{}", answer.packet)?;
        write!(f, "{}", describe(*kind))?;
        match answer.reason {
            Some(reason) => writeln!(f, ": {reason}")?,
            None => writeln!(f)?,
        }
        if let Some(pod) = &answer.pod {
            writeln!(f, "pod:    {pod}")?;
        }
        if let Some(rule) = &answer.rule {
            writeln!(f, "rule:   {rule}")?;
        }
        if let Some(policy) = &answer.network_policy {
            writeln!(f, "network-policy: {policy} does not certainly allow it")?;
        }
        for rule in &answer.could_match {
            writeln!(f, "could match: {rule}")?;
        }
        if let Some(limit) = &answer.limit {
            let per = if limit.per_source { "source" } else { "rule" };
            let RuleLimit {
                packets_per_second,
                burst,
                ..
            } = limit;
            writeln!(
                f,
                "limit:  {packets_per_second} packets/s per {per}, burst {burst}; not evaluated"
            )?;
        }
        if let Some(before) = answer.before.as_ref().filter(|before| !before.is_empty()) {
            writeln!(f, "earlier rules:")?;
            for row in before {
                let RuleMatch {
                    namespace,
                    policy,
                    rule,
                    mismatch,
                } = row;
                let mismatch = mismatch.as_deref().unwrap_or("matches");
                writeln!(f, "  {mismatch:<9} {namespace}/{policy} {rule}")?;
            }
        }
        for note in &answer.notes {
            writeln!(f, "note:   {note}")?;
        }
        Ok(())
    }
}

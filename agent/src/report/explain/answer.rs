//! What is told.

use std::fmt;

use serde::Serialize;
use xdp_core::{
    tables::{ActionRecord, TICK_SHIFT},
    verdict::Kind,
};

use crate::report::explain::{packet::ProbePacket, rules::RuleMatch};

/// What becomes of a packet, and why; this is also its JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The packet.
    pub packet: ProbePacket,
    /// `namespace/name` of the pod it is for, if it is for one.
    pub pod: Option<String>,
    /// What becomes of it: the name of a [`Kind`].
    pub verdict: String,
    /// Why something else than the rule says.
    pub reason: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<DecidingRule>,
    /// Whether that rule only counts.
    pub audit: bool,
    /// The rule's limit, which has not been consulted.
    pub limit: Option<RuleLimit>,
    /// The rules before that one, or all rules if none decided; absent: they are not known.
    pub before: Option<Vec<RuleMatch>>,
    /// What a reader has to know about the above.
    pub notes: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidingRule {
    /// Its number in metadata and tables.
    pub id: u32,
    /// Namespace of its policy.
    pub namespace: String,
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub rule: String,
}

/// A rate limit, as the tables have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleLimit {
    /// Rate.
    pub packets_per_second: u64,
    /// Packets that may come at once.
    pub burst: u64,
    /// Each source has its own.
    pub per_source: bool,
}

impl RuleLimit {
    /// Of an action, if it has one.
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

/// In words.
pub(super) const fn in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Unparsed => "passes to the stack: it cannot be parsed",
        Kind::NotConsidered => {
            "passes to the stack: no rules are in force for its destination, or it is control traffic"
        }
        Kind::NoMatch => "passes to the stack: no rule matches",
        Kind::Pass => "passes to the stack, as the rule says",
        Kind::Audit => "passes to the stack: the policy only audits",
        Kind::Drop => "is dropped",
        Kind::Redirect => "is redirected into the pod",
        Kind::Peer => "is handed to the pod behind the NIC's stack entry (delivery Peer)",
        Kind::FallBack => "passes to the stack, although the rule says Redirect",
        Kind::Reject => "is rejected: dropped, and its sender is told",
        Kind::RejectedSilently => "is rejected: dropped, and its sender is not told",
        Kind::Limited => "is dropped: the rule's rate limit is exceeded",
        Kind::Drained => "is delivered to the pod: no rule redirects it, but it belongs to a tracked flow",
    }
}

/// For people.
pub(super) struct ExplanationText<'a>(pub(super) &'a Explanation, pub(super) Kind);

impl fmt::Display for ExplanationText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(answer, kind) = self;
        writeln!(f, "{}", answer.packet)?;
        write!(f, "{}", in_words(*kind))?;
        match answer.reason {
            Some(reason) => writeln!(f, ": {reason}")?,
            None => writeln!(f)?,
        }
        if let Some(pod) = &answer.pod {
            writeln!(f, "pod:    {pod}")?;
        }
        if let Some(rule) = &answer.rule {
            let DecidingRule {
                id,
                namespace,
                policy,
                rule,
            } = rule;
            writeln!(f, "rule:   {rule} of XdpPolicy {namespace}/{policy} (id {id})")?;
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
                "limit:  {packets_per_second} packets/s per {per}, burst {burst}; not consulted"
            )?;
        }
        if let Some(before) = answer.before.as_ref().filter(|before| !before.is_empty()) {
            writeln!(f, "before:")?;
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

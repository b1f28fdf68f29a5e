//! A decision about a packet, with all that its execution needs.

use super::{Field, Kind, Redirect, RuleTables, Verdict};
use crate::{
    events::{Event, Fallback, ForeignFrame, Unparsed, UnparsedDrop},
    flows::DrainScope,
    key::PacketKey,
    metadata::Metadata,
    reject::{Offender, RejectWith},
    tables::{ActionRecord, Address, PodBlock},
};

/// A [`Verdict`] without its details, as numbers: compiled code for enums whose variants share bytes is too
/// complex for the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct VerdictCode {
    /// Kind of the verdict.
    pub kind: Kind,
    /// Index into [`crate::tables::maps::EVENTS`]; [`Trace::ABSENT`] if the verdict has no reason.
    pub reason: u32,
}

impl VerdictCode {
    /// Returns a verdict without a reason.
    #[inline(always)]
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            reason: Trace::ABSENT,
        }
    }

    /// Returns a verdict with a reason: the code of an enum in [`crate::events`].
    #[inline(always)]
    pub const fn because(kind: Kind, reason: u32) -> Self {
        Self { kind, reason }
    }
}

/// The path of a look-up through the tables; [`Trace::ABSENT`] behind the point where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The pod's slot.
    pub slot: u32,
    /// Index of the class.
    pub class: u32,
    /// Action number; [`crate::tables::NO_MATCH`] if no rule matches.
    pub action: u32,
}

impl Trace {
    /// In place of an absent index.
    pub const ABSENT: u32 = u32::MAX;
}

/// A rule's rate limit, and the source of a packet that it applies to.
#[derive(Clone, Copy, Debug)]
pub struct PacketLimit<'t> {
    /// The rule: with [`ActionRecord::LIMIT_RULE`] or [`ActionRecord::LIMIT_SOURCE`].
    pub record: &'t ActionRecord,
    /// The packet's source address.
    pub source: Address,
}

/// A verdict before rate limits, and the path to it.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'t> {
    /// The verdict.
    pub outcome: VerdictCode,
    /// The path through the tables.
    pub trace: Trace,
    pub(super) key: Option<&'t PacketKey>,
    pub(super) pod: Option<&'t PodBlock>,
    pub(super) record: Option<&'t ActionRecord>,
    pub(super) answer: Option<RejectWith>,
}

impl<'t> Decision<'t> {
    pub(super) const NOT_CONSIDERED: Self = Self {
        outcome: VerdictCode::of(Kind::NotConsidered),
        trace: Trace {
            slot: Trace::ABSENT,
            class: Trace::ABSENT,
            action: Trace::ABSENT,
        },
        key: None,
        pod: None,
        record: None,
        answer: None,
    };

    /// Returns the rule that matches.
    #[inline(always)]
    pub fn rule(&self) -> Option<u32> {
        self.record.map(|record| record.rule)
    }

    /// Returns the number of the rule's namespace: zero, unless [`ActionRecord::shares`].
    #[inline(always)]
    pub fn namespace(&self) -> u16 {
        self.record.map_or(0, |record| record.namespace)
    }

    /// Returns what [`Kind::Redirect`] and [`Kind::Peer`] need.
    #[inline(always)]
    pub fn redirect(&self) -> Option<Redirect> {
        let (key, pod, record) = (self.key?, self.pod?, self.record?);
        let mark = (record.flags & ActionRecord::MARK != 0).then_some(record.mark);
        Some(Redirect {
            slot: self.trace.slot,
            mac: pod.mac,
            tags: key.tags(),
            metadata: Metadata::new(record.rule, mark),
        })
    }

    /// Returns the packet's properties, if rules apply to its destination.
    #[inline(always)]
    pub fn key(&self) -> Option<&'t PacketKey> {
        self.key
    }

    /// Returns which packets with a verdict of this kind reach the pod past the stack although no rule
    /// redirects them.
    #[inline(always)]
    pub fn drain_scope(&self, kind: Kind) -> DrainScope {
        match kind {
            Kind::NoMatch | Kind::Pass | Kind::Audit => match (self.key, self.pod) {
                (Some(key), Some(pod)) => super::drain_scope(key, pod),
                _ => DrainScope::Nothing,
            },
            Kind::Unparsed
            | Kind::UnparsedDrop
            | Kind::NotConsidered
            | Kind::Foreign
            | Kind::Drop
            | Kind::Redirect
            | Kind::Peer
            | Kind::FallBack
            | Kind::Reject
            | Kind::RejectedSilently
            | Kind::Limited
            | Kind::Drained
            | Kind::OwnConnection => DrainScope::Nothing,
        }
    }

    /// Returns the pod's MAC address, and the number of VLAN tags to remove.
    #[inline(always)]
    pub fn target(&self) -> Option<([u8; 6], u32)> {
        Some((self.pod?.mac, self.key?.tags()))
    }

    /// Returns what [`Kind::Reject`] needs.
    #[inline(always)]
    pub fn offender(&self) -> Option<Offender> {
        let key = self.key?;
        Some(Offender {
            tags: key.tags(),
            upper: key.upper(),
            ip_len: key.ip_len(),
            answer: self.answer?,
        })
    }

    /// Returns the rate limit that applies to the packet. It applies to packets that fall back, too.
    #[inline(always)]
    pub fn limit(&self) -> Option<PacketLimit<'t>> {
        let record = self.record?;
        let source = *self.key?.source();
        record.limits().then_some(PacketLimit { record, source })
    }

    /// Returns the decision as execution will change it: if the pod's device is gone, a redirect falls back.
    #[inline(always)]
    #[must_use]
    pub fn predicted(mut self, tables: &impl RuleTables) -> Self {
        if matches!(self.outcome.kind, Kind::Redirect | Kind::Peer) && !tables.alive(self.trace.slot) {
            self.outcome = VerdictCode::because(Kind::FallBack, Fallback::NoDevice.code());
        }
        self
    }

    /// Returns the verdict with its details.
    pub fn verdict(&self) -> Verdict {
        self.with(self.outcome)
    }

    /// Returns the verdict with its details, after limits or execution changed it to `outcome`.
    pub fn with(&self, outcome: VerdictCode) -> Verdict {
        self.details(outcome).unwrap_or(Verdict::NotConsidered)
    }

    /// Never `None` for a decision made by [`super::examine`].
    fn details(&self, VerdictCode { kind, reason }: VerdictCode) -> Option<Verdict> {
        Some(match kind {
            Kind::Unparsed => Verdict::Unparsed(
                Unparsed::ALL
                    .into_iter()
                    .find(|unparsed| unparsed.code() == reason)?,
            ),
            Kind::NotConsidered => Verdict::NotConsidered,
            Kind::Foreign => Verdict::Foreign(
                ForeignFrame::ALL
                    .into_iter()
                    .find(|foreign| foreign.code() == reason)?,
            ),
            Kind::NoMatch => Verdict::NoMatch,
            Kind::Pass => Verdict::Pass { rule: self.rule()? },
            Kind::Audit => Verdict::Audit { rule: self.rule()? },
            Kind::Drop => Verdict::Drop { rule: self.rule()? },
            Kind::Redirect => Verdict::Redirect(self.redirect()?),
            Kind::Peer => Verdict::Peer(self.redirect()?),
            Kind::FallBack => Verdict::FallBack {
                rule: self.rule()?,
                reason: Fallback::ALL
                    .into_iter()
                    .find(|fallback| fallback.code() == reason)?,
            },
            Kind::Reject => Verdict::Reject {
                rule: self.rule()?,
                offender: self.offender()?,
            },
            Kind::RejectedSilently => Verdict::RejectedSilently {
                rule: self.rule()?,
                reason: Event::ALL.into_iter().find(|event| event.code() == reason)?,
            },
            Kind::Limited => Verdict::Limited { rule: self.rule()? },
            Kind::Drained => Verdict::Drained,
            Kind::OwnConnection => Verdict::OwnConnection,
            Kind::UnparsedDrop => Verdict::UnparsedDrop(
                UnparsedDrop::ALL
                    .into_iter()
                    .find(|unparsed| unparsed.code() == reason)?,
            ),
        })
    }
}

impl Kind {
    /// Returns the field of the rule's counters that a packet belongs to. A drained packet is counted by the
    /// verdict that it had before. Rules are not about packets of the pod's own connections.
    #[inline(always)]
    pub const fn field(self) -> Option<Field> {
        match self {
            Self::Unparsed
            | Self::UnparsedDrop
            | Self::NotConsidered
            | Self::Foreign
            | Self::NoMatch
            | Self::Drained
            | Self::OwnConnection => None,
            Self::Pass => Some(Field::Passed),
            Self::Audit => Some(Field::Audited),
            Self::Drop => Some(Field::Dropped),
            Self::Redirect | Self::Peer => Some(Field::Redirected),
            Self::FallBack => Some(Field::FellBack),
            Self::Reject | Self::RejectedSilently => Some(Field::Rejected),
            Self::Limited => Some(Field::Limited),
        }
    }
}

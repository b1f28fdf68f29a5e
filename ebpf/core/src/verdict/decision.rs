//! What was decided about a packet, and all that is needed to carry it out.

use super::{Event, Fallback, Field, Key, Kind, Redirect, Tables, Unparsed, Verdict};
use crate::{
    flows::Carried,
    metadata::Metadata,
    reject::{Answer, Offender},
    tables::{ActionRecord, Address, PodBlock},
};

/// A [`Verdict`] without its details, as numbers: what compilers make of enums whose variants share bytes is more than the
/// verifier can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Outcome {
    /// Which verdict.
    pub kind: Kind,
    /// Index into [`crate::tables::maps::EVENTS`]; [`Trace::NOWHERE`] if the verdict has no reason.
    pub reason: u32,
}

impl Outcome {
    /// Without a reason.
    #[inline(always)]
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            reason: Trace::NOWHERE,
        }
    }

    /// With one: the code of an [`Unparsed`], a [`Fallback`] or an [`Event`].
    #[inline(always)]
    pub const fn because(kind: Kind, reason: u32) -> Self {
        Self { kind, reason }
    }
}

/// The way through the tables, as far as it went: [`Trace::NOWHERE`] where it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the pod.
    pub slot: u32,
    /// Index of the class.
    pub class: u32,
    /// Action number; [`crate::tables::NO_MATCH`] if no rule matches.
    pub action: u32,
}

impl Trace {
    /// In place of an index.
    pub const NOWHERE: u32 = u32::MAX;
}

/// A rule's rate limit, and whom it is for.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'t> {
    /// With [`ActionRecord::LIMIT_RULE`] or [`ActionRecord::LIMIT_SOURCE`].
    pub record: &'t ActionRecord,
    /// The packet's source address.
    pub source: Address,
}

/// A verdict before limits, and how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'t> {
    /// What is to be done.
    pub outcome: Outcome,
    /// The way through the tables.
    pub trace: Trace,
    pub(super) key: Option<&'t Key>,
    pub(super) pod: Option<&'t PodBlock>,
    pub(super) record: Option<&'t ActionRecord>,
    pub(super) answer: Option<Answer>,
}

impl<'t> Decision<'t> {
    pub(super) const NOT_CONSIDERED: Self = Self {
        outcome: Outcome::of(Kind::NotConsidered),
        trace: Trace {
            slot: Trace::NOWHERE,
            class: Trace::NOWHERE,
            action: Trace::NOWHERE,
        },
        key: None,
        pod: None,
        record: None,
        answer: None,
    };

    /// The rule that decided.
    #[inline(always)]
    pub fn rule(&self) -> Option<u32> {
        self.record.map(|record| record.rule)
    }

    /// For [`Kind::Redirect`] and [`Kind::Peer`].
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

    /// The packet, if rules are in force for where it goes.
    #[inline(always)]
    pub fn key(&self) -> Option<&'t Key> {
        self.key
    }

    /// Whether a packet of which this becomes may be delivered past the stack although no rule says so.
    #[inline(always)]
    pub fn carried(&self, kind: Kind) -> Carried {
        match kind {
            Kind::NoMatch | Kind::Pass | Kind::Audit => match (self.key, self.pod) {
                (Some(key), Some(pod)) => super::carried(key, pod),
                _ => Carried::Nothing,
            },
            _ => Carried::Nothing,
        }
    }

    /// The pod's link-layer address, and the VLAN tags to take off on the way there.
    #[inline(always)]
    pub fn target(&self) -> Option<([u8; 6], u32)> {
        Some((self.pod?.mac, self.key?.tags()))
    }

    /// For [`Kind::Reject`].
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

    /// The limit that the packet has to keep to. One that a redirect falls back for uses it up like all others.
    #[inline(always)]
    pub fn limit(&self) -> Option<Limit<'t>> {
        let record = self.record?;
        let source = *self.key?.source();
        record.limits().then_some(Limit { record, source })
    }

    /// What will have become of it, for those who do not carry it out: without its device a pod is not delivered to.
    #[inline(always)]
    #[must_use]
    pub fn predicted(mut self, tables: &impl Tables) -> Self {
        if matches!(self.outcome.kind, Kind::Redirect | Kind::Peer) && !tables.alive(self.trace.slot) {
            self.outcome = Outcome::because(Kind::FallBack, Fallback::NoDevice.code());
        }
        self
    }

    /// The verdict as decided.
    pub fn verdict(&self) -> Verdict {
        self.with(self.outcome)
    }

    /// The verdict with what became of the decision since.
    pub fn with(&self, outcome: Outcome) -> Verdict {
        self.details(outcome).unwrap_or(Verdict::NotConsidered)
    }

    /// `None` if something is missing, which decisions see to that it is not.
    fn details(&self, Outcome { kind, reason }: Outcome) -> Option<Verdict> {
        Some(match kind {
            Kind::Unparsed => Verdict::Unparsed(
                Unparsed::ALL
                    .into_iter()
                    .find(|unparsed| unparsed.code() == reason)?,
            ),
            Kind::NotConsidered => Verdict::NotConsidered,
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
        })
    }
}

impl Kind {
    /// The field of its rule's counters that a packet belongs to.
    #[inline(always)]
    pub const fn field(self) -> Option<Field> {
        match self {
            Self::Unparsed | Self::NotConsidered | Self::NoMatch => None,
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

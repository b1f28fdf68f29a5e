//! What can become of a packet, and where that is counted.

use super::{Event, Fallback};
use crate::{
    metadata::Metadata,
    parse::Unparsed,
    reject::Offender,
    tables::{Count, RuleCounters},
};

/// What to do with a packet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass: no rule could be asked.
    Unparsed(Unparsed),
    /// Pass: not for a target pod whose rules are in force, or control traffic.
    NotConsidered,
    /// Pass: no rule matches.
    NoMatch,
    /// Pass, because the rule says so.
    Pass {
        /// The rule that decided.
        rule: u32,
    },
    /// Pass: the rule would have acted.
    Audit {
        /// The rule that decided.
        rule: u32,
    },
    /// Drop.
    Drop {
        /// The rule that decided.
        rule: u32,
    },
    /// Hand over to the pod's device. Whoever executes this and fails falls back.
    Redirect(Redirect),
    /// Pass, with metadata by which the program behind the NIC's stack entry delivers to the pod. Who fails goes on as
    /// above.
    Peer(Redirect),
    /// Pass: the rule says Redirect, but this packet cannot be.
    FallBack {
        /// The rule that decided.
        rule: u32,
        /// Why not.
        reason: Fallback,
    },
    /// Drop, and tell the sender: [`crate::reject::turn`] makes the answer of the packet.
    Reject {
        /// The rule that decided.
        rule: u32,
        /// What is answered.
        offender: Offender,
    },
    /// Drop: the rule says Reject, but there is no answer.
    RejectedSilently {
        /// The rule that decided.
        rule: u32,
        /// Why not.
        reason: Event,
    },
    /// Drop: the rule's rate limit is exceeded.
    Limited {
        /// The rule that decided.
        rule: u32,
    },
}

/// One for each variant of [`Verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[expect(missing_docs, reason = "they are documented at `Verdict`")]
pub enum Kind {
    Unparsed = 1,
    NotConsidered = 2,
    NoMatch = 3,
    Pass = 4,
    Audit = 5,
    Drop = 6,
    Redirect = 7,
    Peer = 8,
    FallBack = 9,
    Reject = 10,
    RejectedSilently = 11,
    Limited = 12,
}

impl Kind {
    /// All kinds, by code.
    pub const ALL: [Self; 12] = [
        Self::Unparsed,
        Self::NotConsidered,
        Self::NoMatch,
        Self::Pass,
        Self::Audit,
        Self::Drop,
        Self::Redirect,
        Self::Peer,
        Self::FallBack,
        Self::Reject,
        Self::RejectedSilently,
        Self::Limited,
    ];

    /// Of a verdict.
    pub const fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Unparsed(_) => Self::Unparsed,
            Verdict::NotConsidered => Self::NotConsidered,
            Verdict::NoMatch => Self::NoMatch,
            Verdict::Pass { .. } => Self::Pass,
            Verdict::Audit { .. } => Self::Audit,
            Verdict::Drop { .. } => Self::Drop,
            Verdict::Redirect(_) => Self::Redirect,
            Verdict::Peer(_) => Self::Peer,
            Verdict::FallBack { .. } => Self::FallBack,
            Verdict::Reject { .. } => Self::Reject,
            Verdict::RejectedSilently { .. } => Self::RejectedSilently,
            Verdict::Limited { .. } => Self::Limited,
        }
    }

    /// With this code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }
}

/// All that a redirect needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Key in [`crate::tables::maps::DEVICES`].
    pub slot: u32,
    /// The pod's link-layer address, for the frame's destination.
    pub mac: [u8; 6],
    /// VLAN tags to take off: the stack would have delivered the packet untagged.
    pub tags: u32,
    /// To put in front of the packet.
    pub metadata: Metadata,
}

/// A field of [`RuleCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`RuleCounters::redirected`].
    Redirected,
    /// [`RuleCounters::passed`].
    Passed,
    /// [`RuleCounters::dropped`].
    Dropped,
    /// [`RuleCounters::rejected`].
    Rejected,
    /// [`RuleCounters::limited`].
    Limited,
    /// [`RuleCounters::audited`].
    Audited,
    /// [`RuleCounters::fell_back`].
    FellBack,
}

impl Field {
    /// The field itself.
    #[inline(always)]
    pub const fn of(self, counters: &mut RuleCounters) -> &mut Count {
        match self {
            Self::Redirected => &mut counters.redirected,
            Self::Passed => &mut counters.passed,
            Self::Dropped => &mut counters.dropped,
            Self::Rejected => &mut counters.rejected,
            Self::Limited => &mut counters.limited,
            Self::Audited => &mut counters.audited,
            Self::FellBack => &mut counters.fell_back,
        }
    }
}

impl Verdict {
    /// The rule that decided.
    pub const fn rule(&self) -> Option<u32> {
        match *self {
            Self::Unparsed(_) | Self::NotConsidered | Self::NoMatch => None,
            Self::Redirect(Redirect { metadata, .. }) | Self::Peer(Redirect { metadata, .. }) => {
                Some(metadata.rule())
            }
            Self::Pass { rule }
            | Self::Audit { rule }
            | Self::Drop { rule }
            | Self::FallBack { rule, .. }
            | Self::Reject { rule, .. }
            | Self::RejectedSilently { rule, .. }
            | Self::Limited { rule } => Some(rule),
        }
    }

    /// The rule that decided, and the field of its counters that the packet belongs to.
    pub const fn counted(&self) -> Option<(u32, Field)> {
        match (self.rule(), Kind::of(self).field()) {
            (Some(rule), Some(field)) => Some((rule, field)),
            _ => None,
        }
    }

    /// The element of [`crate::tables::maps::EVENTS`] that the packet belongs to.
    pub const fn event(&self) -> Option<u32> {
        match self {
            Self::Unparsed(reason) => Some(reason.code()),
            Self::FallBack { reason, .. } => Some(reason.code()),
            Self::RejectedSilently { reason, .. } => Some(reason.code()),
            _ => None,
        }
    }
}

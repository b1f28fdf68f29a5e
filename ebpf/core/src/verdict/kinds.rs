//! What can become of a packet, and where that is counted.

use super::{Event, Fallback};
use crate::metadata::Metadata;
use crate::parse::Unparsed;
use crate::reject::Offender;
use crate::tables::{Count, RuleCounters};

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
    /// Hand over to the pod's device. Whoever executes this and fails goes on with [`Redirect::fall_back`].
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
    Unanswered {
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

impl Redirect {
    /// The verdict when the redirect is not possible after all.
    #[inline(always)]
    pub const fn fall_back(&self, reason: Fallback) -> Verdict {
        Verdict::FallBack {
            rule: self.metadata.rule(),
            reason,
        }
    }
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
    #[inline(always)]
    pub const fn rule(&self) -> Option<u32> {
        match self.counted() {
            Some((rule, _)) => Some(rule),
            None => None,
        }
    }

    /// The rule that decided, and the field of its counters that the packet belongs to.
    #[inline(always)]
    pub const fn counted(&self) -> Option<(u32, Field)> {
        match *self {
            Self::Unparsed(_) | Self::NotConsidered | Self::NoMatch => None,
            Self::Pass { rule } => Some((rule, Field::Passed)),
            Self::Audit { rule } => Some((rule, Field::Audited)),
            Self::Drop { rule } => Some((rule, Field::Dropped)),
            Self::Redirect(Redirect { metadata, .. }) | Self::Peer(Redirect { metadata, .. }) => {
                Some((metadata.rule(), Field::Redirected))
            }
            Self::FallBack { rule, .. } => Some((rule, Field::FellBack)),
            Self::Reject { rule, .. } | Self::Unanswered { rule, .. } => Some((rule, Field::Rejected)),
            Self::Limited { rule } => Some((rule, Field::Limited)),
        }
    }

    /// The element of [`crate::tables::maps::EVENTS`] that the packet belongs to.
    #[inline(always)]
    pub const fn event(&self) -> Option<u32> {
        match self {
            Self::Unparsed(reason) => Some(reason.code()),
            Self::FallBack { reason, .. } => Some(reason.code()),
            Self::Unanswered { reason, .. } => Some(reason.code()),
            _ => None,
        }
    }
}

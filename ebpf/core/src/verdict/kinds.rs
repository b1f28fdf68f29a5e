//! All verdicts, and the counters they belong to.

use crate::{
    events::{Event, Fallback, ForeignFrame, Unparsed, UnparsedDrop},
    metadata::Metadata,
    reject::Offender,
    tables::{Count, RuleCounters},
};

/// A verdict, with the reason and the details of its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass: the packet cannot be parsed, and no rule that drops could match it.
    Unparsed(Unparsed),
    /// Pass: the destination is no target pod, or the packet is control traffic.
    NotConsidered,
    /// Pass: the node's own stack would not take the frame from the NIC, so no rule applies to it.
    Foreign(ForeignFrame),
    /// Pass: no rule matches.
    NoMatch,
    /// Pass: the rule's action.
    Pass {
        /// The rule that matches.
        rule: u32,
    },
    /// Pass: the policy audits only.
    Audit {
        /// The rule that matches.
        rule: u32,
    },
    /// Drop: the rule's action.
    Drop {
        /// The rule that matches.
        rule: u32,
    },
    /// `XDP_REDIRECT` to the pod's host-side interface. If that fails, the packet falls back.
    Redirect(Redirect),
    /// Pass, with metadata for the NIC's tc ingress program, which delivers to the pod with
    /// `bpf_redirect_peer`. If that fails, the packet falls back.
    Peer(Redirect),
    /// Pass: the rule's action is Redirect, but this packet cannot be redirected.
    FallBack {
        /// The rule that matches.
        rule: u32,
        /// Why it cannot.
        reason: Fallback,
    },
    /// Drop, and answer the sender: [`crate::reject::turn`] turns the packet into the answer.
    Reject {
        /// The rule that matches.
        rule: u32,
        /// The packet, and how it is answered.
        offender: Offender,
    },
    /// Drop: the rule's action is Reject, but the sender gets no answer.
    RejectedSilently {
        /// The rule that matches.
        rule: u32,
        /// Why there is none.
        reason: Event,
    },
    /// Drop: the rule's rate limit is exceeded.
    Limited {
        /// The rule that matches.
        rule: u32,
    },
    /// Delivered past the stack without metadata: no rule redirects the packet, but it belongs to a tracked
    /// flow ([`crate::flows::drains`]). Only the program on the NIC looks that up; [`super::decide`]
    /// never returns this.
    Drained,
    /// Pass: a rule would drop the packet, but it belongs to a connection that the pod opened
    /// ([`crate::flows::is_opened_by_pod`]). Only the program on the NIC looks that up; [`super::decide`]
    /// never returns this.
    OwnConnection,
    /// Drop: the packet cannot be parsed to its ports, and a rule that drops could match it.
    UnparsedDrop(UnparsedDrop),
}

/// The kind of a [`Verdict`]: one for each of its variants.
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
    Drained = 13,
    Foreign = 14,
    OwnConnection = 15,
    UnparsedDrop = 16,
}

impl Kind {
    /// All kinds, by code.
    pub const ALL: [Self; 16] = [
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
        Self::Drained,
        Self::Foreign,
        Self::OwnConnection,
        Self::UnparsedDrop,
    ];

    /// Returns the kind of a verdict.
    pub const fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Unparsed(_) => Self::Unparsed,
            Verdict::NotConsidered => Self::NotConsidered,
            Verdict::Foreign(_) => Self::Foreign,
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
            Verdict::Drained => Self::Drained,
            Verdict::OwnConnection => Self::OwnConnection,
            Verdict::UnparsedDrop(_) => Self::UnparsedDrop,
        }
    }

    /// Whether a rule that matches the packet drops it.
    #[inline(always)]
    pub const fn drops(self) -> bool {
        matches!(
            self,
            Self::Drop | Self::Reject | Self::RejectedSilently | Self::Limited
        )
    }

    /// Returns the kind with this code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }
}

/// The details of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Key in [`crate::tables::maps::DEVICES`].
    pub slot: u32,
    /// The pod's MAC address: the frame's new destination.
    pub mac: [u8; 6],
    /// VLAN tags to remove: the stack would deliver the packet untagged, too.
    pub tags: u32,
    /// The metadata to put in front of the packet.
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
    /// Returns the field.
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
    /// Returns the rule that matches.
    pub const fn rule(&self) -> Option<u32> {
        match *self {
            Self::Unparsed(_)
            | Self::UnparsedDrop(_)
            | Self::NotConsidered
            | Self::Foreign(_)
            | Self::NoMatch
            | Self::Drained
            | Self::OwnConnection => None,
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

    /// Returns the rule that matches, and the field of its counters that the packet belongs to.
    pub const fn counted(&self) -> Option<(u32, Field)> {
        match (self.rule(), Kind::of(self).field()) {
            (Some(rule), Some(field)) => Some((rule, field)),
            _ => None,
        }
    }

    /// Returns the element of [`crate::tables::maps::EVENTS`] that the packet belongs to.
    pub const fn event(&self) -> Option<u32> {
        match self {
            Self::Unparsed(reason) => Some(reason.code()),
            Self::Foreign(reason) => Some(reason.code()),
            Self::UnparsedDrop(reason) => Some(reason.code()),
            Self::FallBack { reason, .. } => Some(reason.code()),
            Self::RejectedSilently { reason, .. } => Some(reason.code()),
            Self::NotConsidered
            | Self::NoMatch
            | Self::Pass { .. }
            | Self::Audit { .. }
            | Self::Drop { .. }
            | Self::Redirect(_)
            | Self::Peer(_)
            | Self::Reject { .. }
            | Self::Limited { .. }
            | Self::Drained
            | Self::OwnConnection => None,
        }
    }
}

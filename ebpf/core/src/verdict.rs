//! What is done with a packet, and where that is counted.
//!
//! [`decide`] is total and fails open: whatever is missing (address, slot, device, block, match) passes the packet. A
//! packet is dropped only because an entry with [`Action::Drop`] matched it.

mod classify;
mod control;

pub use crate::parse::Unparsed;

use self::classify::Key;
use crate::metadata::Metadata;
use crate::parse::{self, Bytes, Packet};

use crate::tables::{Action, Address, Block, Count, Entry, RuleCounters, SlotWord};

/// What the program reads. Every lookup may fail, at any time.
pub trait Tables {
    /// [`crate::tables::maps::PODS`].
    fn slot(&self, destination: &Address) -> Option<u32>;

    /// [`crate::tables::maps::SLOTS`].
    fn word(&self, slot: u32) -> Option<SlotWord>;

    /// Whether [`crate::tables::maps::DEVICES`] has the slot: with its device a pod's rules are gone.
    fn alive(&self, slot: u32) -> bool;

    /// [`crate::tables::maps::BLOCKS`].
    fn block(&self, index: u32) -> Option<&Block>;
}

/// Why a packet that a rule would redirect is passed. Counted under its code in [`crate::tables::maps::EVENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fallback {
    /// The pod cannot take redirects ([`Entry::NOT_READY`]).
    NotReady = 16,
    /// The frame was sent to a group address: others want it too.
    GroupMac = 17,
    /// Longer than the pod's MTU: the stack can fragment it or answer.
    TooLong = 18,
    /// The devmap entry vanished between look-up and redirect.
    NoDevice = 19,
    /// The driver left no room for the metadata.
    NoMetadata = 20,
    /// The VLAN tags could not be taken off.
    NoUntag = 21,
    /// A fragment: its later ones may meet another rule, and a stack that tracks connections (`nf_defrag`) waits for
    /// the first one until it gives the whole packet up. So they all take the same way.
    Fragment = 22,
}

impl Fallback {
    /// All reasons, by code.
    pub const ALL: [Self; 7] = [
        Self::NotReady,
        Self::GroupMac,
        Self::TooLong,
        Self::NoDevice,
        Self::NoMetadata,
        Self::NoUntag,
        Self::Fragment,
    ];

    /// Index into [`crate::tables::maps::EVENTS`].
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "NotReady",
            Self::GroupMac => "GroupMac",
            Self::TooLong => "TooLong",
            Self::NoDevice => "NoDevice",
            Self::NoMetadata => "NoMetadata",
            Self::NoUntag => "NoUntag",
            Self::Fragment => "Fragment",
        }
    }
}

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
    /// Pass: the rule says Redirect, but this packet cannot be.
    FallBack {
        /// The rule that decided.
        rule: u32,
        /// Why not.
        reason: Fallback,
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
            Self::Audited => &mut counters.audited,
            Self::FellBack => &mut counters.fell_back,
        }
    }
}

impl Verdict {
    /// The rule that decided, and the field of its counters that the packet belongs to.
    #[inline(always)]
    pub const fn counted(&self) -> Option<(u32, Field)> {
        match *self {
            Self::Unparsed(_) | Self::NotConsidered | Self::NoMatch => None,
            Self::Pass { rule } => Some((rule, Field::Passed)),
            Self::Audit { rule } => Some((rule, Field::Audited)),
            Self::Drop { rule } => Some((rule, Field::Dropped)),
            Self::Redirect(Redirect { metadata, .. }) => Some((metadata.rule(), Field::Redirected)),
            Self::FallBack { rule, .. } => Some((rule, Field::FellBack)),
        }
    }

    /// The element of [`crate::tables::maps::EVENTS`] that the packet belongs to.
    #[inline(always)]
    pub const fn event(&self) -> Option<u32> {
        match self {
            Self::Unparsed(reason) => Some(reason.code()),
            Self::FallBack { reason, .. } => Some(reason.code()),
            _ => None,
        }
    }
}

/// Decides about one frame.
#[inline(always)]
pub fn decide<B: Bytes + ?Sized>(bytes: &B, tables: &impl Tables) -> Verdict {
    match parse::parse(bytes) {
        Ok(packet) if control::is_control(&packet) => Verdict::NotConsidered,
        Ok(packet) => look_up(bytes, &packet, tables).unwrap_or(Verdict::NotConsidered),
        Err(reason) => Verdict::Unparsed(reason),
    }
}

/// `None`: no rules are in force for this destination.
#[inline(always)]
fn look_up<B: Bytes + ?Sized>(bytes: &B, packet: &Packet, tables: &impl Tables) -> Option<Verdict> {
    let slot = tables.slot(&packet.destination)?;
    let block = tables.word(slot)?.block()?;
    if !tables.alive(slot) {
        return None;
    }
    let block = tables.block(block)?;
    let packet = &Packet {
        tags: bytes.forget(packet.tags),
        ..*packet
    };
    Some(match classify::first_match(block, &Key::new(bytes, packet)) {
        Some(entry) => act(packet, slot, block, entry),
        None => Verdict::NoMatch,
    })
}

#[inline(always)]
fn act(packet: &Packet, slot: u32, block: &Block, entry: &Entry) -> Verdict {
    let rule = entry.rule;
    if entry.flags & Entry::AUDIT != 0 {
        return Verdict::Audit { rule };
    }
    match Action::from_byte(entry.action) {
        Action::Pass => Verdict::Pass { rule },
        Action::Drop => Verdict::Drop { rule },
        Action::Redirect => match obstacle(packet, block, entry) {
            Some(reason) => Verdict::FallBack { rule, reason },
            None => Verdict::Redirect(Redirect {
                slot,
                mac: block.mac,
                tags: packet.tags,
                metadata: Metadata::new(rule, (entry.flags & Entry::MARK != 0).then_some(entry.mark)),
            }),
        },
    }
}

/// What stands against a redirect before it is tried.
#[inline(always)]
fn obstacle(packet: &Packet, block: &Block, entry: &Entry) -> Option<Fallback> {
    if entry.flags & Entry::NOT_READY != 0 {
        Some(Fallback::NotReady)
    } else if packet.group_mac {
        Some(Fallback::GroupMac)
    } else if packet.fragment {
        Some(Fallback::Fragment)
    } else if packet.ip_len > block.mtu {
        Some(Fallback::TooLong)
    } else {
        None
    }
}

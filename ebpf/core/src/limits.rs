//! Rate limits: of rules, of sources, and of the node's answers to rejected packets.
//!
//! The module of [`crate::tables::LimitSet`] describes the algorithm and its units. All state is in cells
//! that programs on other CPUs change at the same time, so each change is a compare-and-swap.

mod answers;
mod hash;
mod rate;

pub use self::answers::{ANSWERS, answers};
use self::{
    hash::hash,
    rate::{Rate, SLACK},
};
use crate::{
    events::Event,
    tables::{ActionRecord, ShareWord, TICK_SHIFT, WAYS},
    verdict::{Decision, Kind, PacketLimit, VerdictCode},
};

/// A number that programs on other CPUs change at the same time.
pub trait LimitCell {
    /// Returns the current value.
    fn get(&self) -> u64;

    /// Stores `new` if the current value is `old`. Returns the value from before.
    fn compare_and_swap(&self, old: u64, new: u64) -> u64;
}

/// Access to a [`crate::tables::LimitSet`].
pub trait LimitSetCells {
    /// The elements of the set.
    type LimitCell: LimitCell;

    /// Returns the cell with the owner of a way. `way` is below [`WAYS`].
    fn owner(&self, way: usize) -> Self::LimitCell;

    /// Returns the cell with the time until which the way's capacity is used up.
    fn until(&self, way: usize) -> Self::LimitCell;
}

/// Access to the state of limits. Every look-up may fail at any time.
pub trait Limits {
    /// The cell of a limit.
    type LimitCell: LimitCell;
    /// A set of limits for sources.
    type LimitSetCells: LimitSetCells<LimitCell = Self::LimitCell>;

    /// Returns the nanoseconds of `CLOCK_MONOTONIC`.
    fn now(&self) -> u64;

    /// Returns [`crate::tables::Config::seed`].
    fn seed(&self) -> u64;

    /// Returns [`crate::tables::Config::rejects_per_second`].
    fn rejects_per_second(&self) -> u32;

    /// Returns the number of namespaces with Reject rules: the first element of
    /// [`crate::tables::maps::NAMESPACES`].
    fn answering(&self) -> u64;

    /// Looks up any other element of [`crate::tables::maps::NAMESPACES`].
    fn share(&self, namespace: u16) -> Option<ShareWord>;

    /// Looks up an element of [`crate::tables::maps::RULE_LIMITS`].
    fn rule(&self, rule: u32) -> Option<Self::LimitCell>;

    /// Looks up an element of [`crate::tables::maps::SOURCE_LIMITS`].
    fn set(&self, index: u32) -> Option<Self::LimitSetCells>;

    /// Returns `way` unchanged. In the kernel it makes the value opaque to the verifier, with the help of a
    /// number that the verifier does not know: so it follows the rest of the program only once.
    #[inline(always)]
    fn opaque(&self, way: usize, unknown: u64) -> usize {
        let _ = unknown;
        way
    }

    /// Calls [`admits`]: in the kernel as a function of its own.
    #[inline(always)]
    fn admits(&self, limit: &PacketLimit<'_>) -> Admission
    where
        Self: Sized,
    {
        admits(limit, self)
    }

    /// Calls [`answers()`]: in the kernel as a function of its own.
    #[inline(always)]
    fn answers(&self, namespace: u16) -> bool
    where
        Self: Sized,
    {
        answers(namespace, self)
    }
}

/// The result of [`enforce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// The verdict.
    pub outcome: VerdictCode,
    /// Whether the packet's source has no entry of its own: [`Event::SourceLimitTableFull`].
    pub table_full: bool,
}

/// Whether a limit admits a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Admission {
    /// The limit admits the packet.
    Granted = 0,
    /// The limit is exceeded.
    Refused = 1,
    /// The source has no entry of its own; the rule's limit admits the packet.
    GrantedTableFull = 2,
    /// The source has no entry of its own; the rule's limit is exceeded.
    RefusedTableFull = 3,
}

impl Admission {
    /// Decodes a number.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Refused,
            2 => Self::GrantedTableFull,
            3 => Self::RefusedTableFull,
            _ => Self::Granted,
        }
    }
}

/// Uses up the packet's share of its limit. If the limit is exceeded, the verdict changes.
#[inline(always)]
pub fn enforce(decision: &Decision<'_>, limits: &impl Limits) -> Enforced {
    let outcome = decision.outcome;
    if outcome.kind == Kind::Reject {
        let limited = VerdictCode::because(Kind::RejectedSilently, Event::RejectLimited.code());
        return Enforced {
            outcome: if limits.answers(decision.namespace()) {
                outcome
            } else {
                limited
            },
            table_full: false,
        };
    }
    let admission = decision
        .limit()
        .map_or(Admission::Granted, |limit| limits.admits(&limit));
    let is_granted = matches!(admission, Admission::Granted | Admission::GrantedTableFull);
    Enforced {
        outcome: if is_granted {
            outcome
        } else {
            VerdictCode::of(Kind::Limited)
        },
        table_full: matches!(
            admission,
            Admission::GrantedTableFull | Admission::RefusedTableFull
        ),
    }
}

/// Returns whether a rule's limit admits one more packet.
#[inline(always)]
pub fn admits(limit: &PacketLimit<'_>, limits: &impl Limits) -> Admission {
    let now = now(limits);
    let (cell, table_full) = cell(limit, now, limits);
    let granted =
        cell.is_none_or(|cell| Rate::new(limit.record.interval, limit.record.window).admits(&cell, now));
    match (granted, table_full) {
        (true, false) => Admission::Granted,
        (false, false) => Admission::Refused,
        (true, true) => Admission::GrantedTableFull,
        (false, true) => Admission::RefusedTableFull,
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// Returns the time in ticks.
#[inline(always)]
fn now(limits: &impl Limits) -> u64 {
    limits.now() << TICK_SHIFT
}

/// Returns the cell of the limit, and whether it is the rule's because the source has no entry of its own.
#[inline(always)]
fn cell<L: Limits>(limit: &PacketLimit<'_>, now: u64, limits: &L) -> (Option<L::LimitCell>, bool) {
    let rule = limit.record.rule;
    if limit.record.flags & ActionRecord::LIMIT_SOURCE == 0 {
        return (limits.rule(rule), false);
    }
    match source(limit, now, limits) {
        Some(cell) => (Some(cell), false),
        None => (limits.rule(rule), true),
    }
}

/// Returns the source's cell. `None`: other sources of the namespace use all ways of the set.
#[inline(always)]
fn source<L: Limits>(limit: &PacketLimit<'_>, now: u64, limits: &L) -> Option<L::LimitCell> {
    let share = limits.share(limit.record.namespace)?;
    let hash = hash(limits.seed(), limit.record.rule, &limit.source);
    let set = limits.set(share.set((hash >> 48) as u16)?)?;
    let way = way(&set, hash << 16 | u64::from(share.tag()), now)?;
    Some(set.until(limits.opaque(way, now)))
}

/// Returns the owner's way, or claims a free one. `None` if other owners use all ways.
///
/// Two CPUs that see the same source for the first time agree on one way, or use two until one of them is
/// free again: a source may get one burst more than its limit, and never less than its limit.
#[inline(always)]
fn way(set: &impl LimitSetCells, owner: u64, now: u64) -> Option<usize> {
    for way in 0..WAYS {
        if set.owner(way).get() == owner {
            return Some(way);
        }
    }
    for way in 0..WAYS {
        let (cell, until) = (set.owner(way), set.until(way));
        let (previous, time) = (cell.get(), until.get());
        let is_foreign = previous as u16 != owner as u16;
        if is_foreign {
            // Before the claim: after it, the time is the owner's.
            until.compare_and_swap(time, 0);
        }
        if is_foreign || is_past(time, now) {
            let seen = cell.compare_and_swap(previous, owner);
            if seen == previous || seen == owner {
                return Some(way);
            }
        }
    }
    None
}

#[inline(always)]
fn is_past(until: u64, now: u64) -> bool {
    let ahead = until.wrapping_sub(now);
    ahead == 0 || ahead > LONGEST
}

/// No time of a source is further ahead.
const LONGEST: u64 = ((MAX_WINDOW * NANOSECONDS) << TICK_SHIFT) + SLACK;

/// The most seconds in which a source that sends nothing more has its whole burst back. It bounds how long a
/// source keeps its place.
pub const MAX_WINDOW: u64 = 60;

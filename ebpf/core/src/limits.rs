//! Rate limits: of rules, of sources, and of the node's answers to rejected packets.
//!
//! The module of [`crate::tables::LimitSet`] describes the algorithm and its units. All state is in cells
//! that programs on other CPUs change at the same time, so each change is a compare-and-swap.

mod hash;
mod rate;

use self::{hash::hash, rate::Rate};
use crate::{
    events::Event,
    tables::{ActionRecord, LIMIT_SETS, MAX_RULES, TICK_SHIFT, WAYS},
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

    /// Calls [`answers`]: in the kernel as a function of its own.
    #[inline(always)]
    fn answers(&self) -> bool
    where
        Self: Sized,
    {
        answers(self)
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
            outcome: if limits.answers() { outcome } else { limited },
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

/// Index in [`crate::tables::maps::RULE_LIMITS`] of the limit of answers.
pub const ANSWERS: u32 = MAX_RULES;

/// Whether this node may send one more answer.
#[inline(always)]
pub fn answers(limits: &impl Limits) -> bool {
    let per_second = u64::from(limits.rejects_per_second());
    if per_second == 0 {
        return false;
    }
    let interval = (NANOSECONDS << TICK_SHIFT) / per_second;
    let rate = Rate::new(interval, interval * per_second);
    limits
        .rule(ANSWERS)
        .is_none_or(|cell| rate.admits(&cell, now(limits)))
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
    let hash = hash(limits.seed(), rule, &limit.source);
    let set = limits.set(hash as u32 & (LIMIT_SETS - 1));
    match set.and_then(|set| Some((way(&set, hash | 1, now)?, set))) {
        Some((way, set)) => (Some(set.until(limits.opaque(way, now))), false),
        None => (limits.rule(rule), true),
    }
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
        let cell = set.owner(way);
        let previous = cell.get();
        if previous == 0 || is_past(set.until(way).get(), now) {
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

/// No window is longer: 10,000,000 packets at one packet per second.
const LONGEST: u64 = 1 << 62;

//! Whether a packet keeps to its rule's rate limit, and an answer to the node's.
//!
//! The algorithm and its units are described at [`crate::tables::LimitSet`]'s module. All state is in cells that
//! programs on other CPUs change at the same time, so every change is a comparison and an exchange.

mod hash;
mod rate;

use self::{hash::hash, rate::Rate};
use crate::{
    tables::{ActionRecord, LIMIT_SETS, MAX_RULES, TICK_SHIFT, WAYS},
    verdict::{Decision, Event, Kind, Limit, Outcome},
};

/// A number that others change at the same time.
pub trait Cell {
    /// What it holds.
    fn get(&self) -> u64;

    /// Stores `new` if it holds `old`; what it held.
    fn exchange(&self, old: u64, new: u64) -> u64;
}

/// A [`crate::tables::LimitSet`].
pub trait Set {
    /// Its elements.
    type Cell: Cell;

    /// Whose the way is; `way` is below [`WAYS`].
    fn owner(&self, way: usize) -> Self::Cell;

    /// When the owner's packets are paid for.
    fn until(&self, way: usize) -> Self::Cell;
}

/// The state of limits. Every lookup may fail, at any time.
pub trait Limits {
    /// A limit.
    type Cell: Cell;
    /// Limits of sources.
    type Set: Set<Cell = Self::Cell>;

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    fn now(&self) -> u64;

    /// [`crate::tables::Config::seed`].
    fn seed(&self) -> u64;

    /// [`crate::tables::Config::rejects_per_second`].
    fn rejects_per_second(&self) -> u32;

    /// [`crate::tables::maps::RULE_LIMITS`].
    fn rule(&self, rule: u32) -> Option<Self::Cell>;

    /// [`crate::tables::maps::SOURCE_LIMITS`].
    fn set(&self, index: u32) -> Option<Self::Set>;

    /// `way` itself. In the kernel the verifier forgets what it knew about it, with the help of a number that it does not
    /// know: so it follows what comes after once.
    #[inline(always)]
    fn forget(&self, way: usize, unknown: u64) -> usize {
        let _ = unknown;
        way
    }

    /// [`admits`]. In the kernel a function of its own.
    #[inline(always)]
    fn admits(&self, limit: &Limit<'_>) -> Admission
    where
        Self: Sized,
    {
        admits(limit, self)
    }

    /// [`answers`]. In the kernel a function of its own.
    #[inline(always)]
    fn answers(&self) -> bool
    where
        Self: Sized,
    {
        answers(self)
    }
}

/// What limits made of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// What is to be done.
    pub outcome: Outcome,
    /// Whether the packet's source found no place of its own: [`Event::SourceLimitTableFull`].
    pub crowded: bool,
}

/// What a limit says to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Admission {
    /// It keeps to it.
    Granted = 0,
    /// It does not.
    Refused = 1,
    /// It keeps to the rule's, its source found no place.
    GrantedCrowded = 2,
    /// It does not keep to the rule's, its source found no place.
    RefusedCrowded = 3,
}

impl Admission {
    /// Of a number that it was made.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Refused,
            2 => Self::GrantedCrowded,
            3 => Self::RefusedCrowded,
            _ => Self::Granted,
        }
    }
}

/// Uses up what the packet needs, and turns the decision around when there is not enough left.
#[inline(always)]
pub fn enforce(decision: &Decision<'_>, limits: &impl Limits) -> Enforced {
    let outcome = decision.outcome;
    if outcome.kind == Kind::Reject {
        let limited = Outcome::because(Kind::RejectedSilently, Event::RejectLimited.code());
        return Enforced {
            outcome: if limits.answers() { outcome } else { limited },
            crowded: false,
        };
    }
    let admission = decision
        .limit()
        .map_or(Admission::Granted, |limit| limits.admits(&limit));
    let is_granted = matches!(admission, Admission::Granted | Admission::GrantedCrowded);
    Enforced {
        outcome: if is_granted {
            outcome
        } else {
            Outcome::of(Kind::Limited)
        },
        crowded: matches!(admission, Admission::GrantedCrowded | Admission::RefusedCrowded),
    }
}

/// What a rule's limit says to one more packet.
#[inline(always)]
pub fn admits(limit: &Limit<'_>, limits: &impl Limits) -> Admission {
    let now = now(limits);
    let (cell, crowded) = cell(limit, now, limits);
    let granted =
        cell.is_none_or(|cell| Rate::new(limit.record.interval, limit.record.window).admits(&cell, now));
    match (granted, crowded) {
        (true, false) => Admission::Granted,
        (false, false) => Admission::Refused,
        (true, true) => Admission::GrantedCrowded,
        (false, true) => Admission::RefusedCrowded,
    }
}

/// The element of [`crate::tables::maps::RULE_LIMITS`] that limits answers.
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

/// In ticks.
#[inline(always)]
fn now(limits: &impl Limits) -> u64 {
    limits.now() << TICK_SHIFT
}

/// The cell to ask, and whether it is not the source's own because there was no room for one.
#[inline(always)]
fn cell<L: Limits>(limit: &Limit<'_>, now: u64, limits: &L) -> (Option<L::Cell>, bool) {
    let rule = limit.record.rule;
    if limit.record.flags & ActionRecord::LIMIT_SOURCE == 0 {
        return (limits.rule(rule), false);
    }
    let hash = hash(limits.seed(), rule, &limit.source);
    let set = limits.set(hash as u32 & (LIMIT_SETS - 1));
    match set.and_then(|set| Some((way(&set, hash | 1, now)?, set))) {
        Some((way, set)) => (Some(set.until(limits.forget(way, now))), false),
        None => (limits.rule(rule), true),
    }
}

/// The way that is the owner's, or becomes it; `None` if all belong to others who still need theirs.
///
/// Two CPUs that see the same source for the first time agree on the way, or use two until one of them is free again: a
/// source may get one burst too many, never less than its due.
#[inline(always)]
fn way(set: &impl Set, owner: u64, now: u64) -> Option<usize> {
    for way in 0..WAYS {
        if set.owner(way).get() == owner {
            return Some(way);
        }
    }
    for way in 0..WAYS {
        let cell = set.owner(way);
        let previous = cell.get();
        if previous == 0 || is_past(set.until(way).get(), now) {
            let seen = cell.exchange(previous, owner);
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

/// No window is longer: 10,000,000 packets, one a second.
const LONGEST: u64 = 1 << 62;

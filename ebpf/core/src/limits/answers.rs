//! The limit of answers to rejected packets.
//!
//! Half of the node's budget is for sure: each namespace with Reject rules has an equal part of it. All
//! namespaces share the other half. With more namespaces than the half has answers per second, the sure part
//! grows, at most to the whole budget, so that each has one answer per second.

use super::{LimitCell as _, Limits, NANOSECONDS, now, rate::Rate};
use crate::tables::{MAX_RULES, TICK_SHIFT};

/// Index in [`crate::tables::maps::RULE_LIMITS`] of the limit that all namespaces share. The limit of a
/// namespace is as many elements behind it as the namespace's number says.
pub const ANSWERS: u32 = MAX_RULES;

/// Whether this node may send one more answer for a rule of the namespace. Of its own part and the shared
/// one, it uses the one that is used less: what comes back to a full one is lost.
#[inline(always)]
pub fn answers<L: Limits>(namespace: u16, limits: &L) -> bool {
    let (own, shared) = rates(u64::from(limits.rejects_per_second()), limits.answering());
    let now = now(limits);
    let own = own.filter(|_| namespace != 0);
    let own = own.zip(limits.rule(ANSWERS + u32::from(namespace)));
    let shared = shared.zip(limits.rule(ANSWERS));
    let used = |part: &Option<(Rate, L::LimitCell)>| {
        let used = part.as_ref().map(|(rate, cell)| rate.ahead(cell.get(), now));
        used.unwrap_or(u64::MAX)
    };
    let admits =
        |part: Option<(Rate, L::LimitCell)>| part.is_some_and(|(rate, cell)| rate.admits(&cell, now));
    let (first, second) = if used(&own) <= used(&shared) {
        (own, shared)
    } else {
        (shared, own)
    };
    admits(first) || admits(second)
}

/// Returns the rate of each namespace, and the one that they share. `None`: no answers.
#[inline(always)]
fn rates(budget: u64, namespaces: u64) -> (Option<Rate>, Option<Rate>) {
    let sure = if namespaces == 0 {
        0
    } else {
        (budget / 2).max(namespaces).min(budget)
    };
    (rate(sure, namespaces), rate(budget - sure, 1))
}

/// Returns the rate of one of `parts` parts, with a burst of a second, and of one answer at least. It is
/// rounded down.
#[inline(always)]
fn rate(per_second: u64, parts: u64) -> Option<Rate> {
    if per_second == 0 {
        return None;
    }
    let interval = (SECOND * parts).div_ceil(per_second);
    Some(Rate::new(interval, interval.max(SECOND)))
}

const SECOND: u64 = NANOSECONDS << TICK_SHIFT;

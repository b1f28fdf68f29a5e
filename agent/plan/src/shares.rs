//! Shares: how a table that several claimants fill is divided between them.
//!
//! Half of the table is divided equally: that part each claimant has for sure, whether it uses it or not. The
//! rest is lent by demand, the smallest demands first (max-min fairness), and what is left is room to
//! grow for all. So no claimant has less than the smaller of its demand and its part of the whole table,
//! whatever the others demand.

use crate::fair::max_min;

/// What a claimant has and wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Entries in use.
    pub used: u32,
    /// Entries that were refused since the limits were set last.
    pub refused: u32,
}

impl Claim {
    /// Returns the number of entries that the claimant may want by the next time. What was refused may have
    /// been refused several times.
    fn demand(self, sure: u32) -> u32 {
        let most = self.used.saturating_add(sure.max(1));
        self.used.saturating_add(self.refused.min(most)).max(sure)
    }
}

/// Returns the limit of each claimant. Their sum is at most `capacity`.
pub fn shares(capacity: u32, claims: &[Claim]) -> Vec<u32> {
    let Ok(count @ 1..) = u32::try_from(claims.len()) else {
        return Vec::new();
    };
    let sure = capacity / 2 / count;
    let demands: Vec<usize> = claims.iter().map(|claim| claim.demand(sure) as usize).collect();
    let lent = max_min(capacity as usize, &demands);
    let free = capacity - lent.iter().sum::<usize>() as u32;
    lent.into_iter().map(|lent| lent as u32 + free / count).collect()
}

/// What to delete of a claimant's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Entries that were idle longer than this are deleted.
    pub older_than: u32,
    /// How many of those are deleted that were idle exactly as long.
    pub as_old: u32,
}

/// Entries that were idle for less are deleted only if the claimant has more than its limit.
const IDLE: u32 = 2;

/// Returns what to delete of a claimant's entries, the idle ones first: what is beyond the limit; and if the
/// claimant was refused entries because the limit is nearly reached, entries that are idle, down to three
/// quarters of it, so that what has ended does not fill the share for ever. `ages`: how many entries were
/// idle for how long, in ascending order.
pub fn excess(limit: u32, is_refused: bool, ages: &[(u32, u32)]) -> Option<Excess> {
    let used: u32 = ages.iter().map(|(_, count)| count).sum();
    let beyond = used.saturating_sub(limit);
    let is_nearly_full = is_refused && used > limit - limit / 8;
    let spare = if is_nearly_full {
        used.saturating_sub(limit - limit / 4)
    } else {
        0
    };
    let mut deleted = 0;
    let mut found = None;
    for (age, count) in ages.iter().rev() {
        let wanted = if *age < IDLE { beyond } else { spare.max(beyond) };
        let as_old = wanted.saturating_sub(deleted).min(*count);
        if as_old > 0 {
            found = Some(Excess {
                older_than: *age,
                as_old,
            });
        }
        deleted += as_old;
    }
    found
}

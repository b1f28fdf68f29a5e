//! The generic cell rate algorithm.

use super::LimitCell;

/// After this many failed attempts the packet is admitted. Each failed attempt is a packet that another CPU
/// admitted in its place.
const ATTEMPTS: u32 = 8;

/// The most ticks by which the clocks of two CPUs, or the reads of the clock and of the cell, may differ: 17
/// seconds.
pub(super) const SLACK: u64 = 1 << 42;

/// A rate and its burst, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    interval: u64,
    window: u64,
}

impl Rate {
    #[inline(always)]
    pub(super) const fn new(interval: u64, window: u64) -> Self {
        Self { interval, window }
    }

    #[inline(always)]
    pub(super) fn admits(&self, cell: &impl LimitCell, now: u64) -> bool {
        let mut until = cell.get();
        for _ in 0..ATTEMPTS {
            let ahead = self.ahead(until, now).wrapping_add(self.interval);
            if ahead > self.window {
                return false;
            }
            let seen = cell.compare_and_swap(until, now.wrapping_add(ahead));
            if seen == until {
                return true;
            }
            until = seen;
        }
        true
    }

    /// Returns how far the admitted packets reach into the future. Zero for a cell that was never used, and
    /// for a value that this rate cannot have reached: it is of another rate, which the rule had before.
    #[inline(always)]
    pub(super) fn ahead(&self, until: u64, now: u64) -> u64 {
        let ahead = until.wrapping_sub(now);
        if (until == 0) | (ahead > self.window.saturating_add(SLACK)) {
            0
        } else {
            ahead
        }
    }
}

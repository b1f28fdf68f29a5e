//! The generic cell rate algorithm.

use super::Cell;

/// Attempts until a packet is let through because so many others came at once. Each lost attempt is another packet that
/// was let through in its place.
const ATTEMPTS: u32 = 8;

/// Ticks that the clocks of two CPUs, or the time between reading the clock and the cell, may be apart: 17 seconds.
const SLACK: u64 = 1 << 42;

/// A rate and what may come at once, in ticks.
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
    pub(super) fn admits(&self, cell: &impl Cell, now: u64) -> bool {
        let mut until = cell.get();
        for _ in 0..ATTEMPTS {
            let ahead = self.ahead(until, now).wrapping_add(self.interval);
            if ahead > self.window {
                return false;
            }
            let seen = cell.exchange(until, now.wrapping_add(ahead));
            if seen == until {
                return true;
            }
            until = seen;
        }
        true
    }

    /// How far what was let through is paid for in advance; zero is a cell that was never used. More than this rate can have reached is of another one, which
    /// the rule had before.
    #[inline(always)]
    fn ahead(&self, until: u64, now: u64) -> u64 {
        let ahead = until.wrapping_sub(now);
        if (until == 0) | (ahead > self.window.saturating_add(SLACK)) {
            0
        } else {
            ahead
        }
    }
}

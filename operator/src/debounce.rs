//! Debouncing: changes that follow each other become one reconcile.

use std::time::{Duration, Instant};

/// Waits until changes pause, and not longer than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    quiet: Duration,
    longest: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Debounce {
    /// Creates a debounce that waits for `quiet` without a change, and for `longest` after the first change.
    pub const fn new(quiet: Duration, longest: Duration) -> Self {
        Self {
            quiet,
            longest,
            first: None,
            last: None,
        }
    }

    /// Records a change.
    pub fn touch(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Returns when the reconcile is due; `None` if nothing has changed since the last one.
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        Some((last + self.quiet).min(first + self.longest))
    }

    /// Starts again, at the start of a reconcile.
    pub fn reset(&mut self) {
        (self.first, self.last) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn changes_that_follow_each_other_are_one_reconcile() {
        let start = Instant::now();
        let mut debounce = Debounce::new(100 * MS, 500 * MS);
        assert_eq!(debounce.due(), None);
        debounce.touch(start);
        debounce.touch(start + 60 * MS);
        assert_eq!(debounce.due(), Some(start + 160 * MS));
        debounce.reset();
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn changes_without_a_pause_do_not_delay_a_reconcile_beyond_the_bound() {
        let start = Instant::now();
        let mut debounce = Debounce::new(100 * MS, 500 * MS);
        for step in 0..100 {
            debounce.touch(start + step * 50 * MS);
        }
        assert_eq!(debounce.due(), Some(start + 500 * MS));
    }
}

//! When something may be done: together with what follows at once, not too often, and later after failures.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Waits until changes pause, so that many become one round, and never longer than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// No change for this long is a pause.
    pub quiet: Duration,
    /// Longest wait from the first change.
    pub longest: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Debounce {
    /// Nothing has changed yet.
    pub const fn new(quiet: Duration, longest: Duration) -> Self {
        Self {
            quiet,
            longest,
            first: None,
            last: None,
        }
    }

    /// Something has changed.
    pub fn touch(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When the round is due, if anything has changed since the last.
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        Some((last + self.quiet).min(first + self.longest))
    }

    /// A round begins.
    pub fn reset(&mut self) {
        (self.first, self.last) = (None, None);
    }
}

/// Remembers for each of many things when it may be done again.
#[derive(Debug)]
pub struct Pace<K> {
    /// Least time from one success to the next try.
    apart: Duration,
    waiting: BTreeMap<K, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    failures: u32,
}

impl<K: Ord + Clone> Pace<K> {
    /// Everything may be done now.
    pub const fn new(apart: Duration) -> Self {
        Self {
            apart,
            waiting: BTreeMap::new(),
        }
    }

    /// Until when to wait with it; `None`: it may be done now.
    pub fn wait(&self, key: &K, now: Instant) -> Option<Instant> {
        let until = self.waiting.get(key)?.until;
        (until > now).then_some(until)
    }

    /// It has been done.
    pub fn succeeded(&mut self, key: &K, now: Instant) {
        let until = now + self.apart;
        self.waiting.insert(key.clone(), Wait { until, failures: 0 });
    }

    /// It could not be done. `jitter` from 0 to 1 spreads those that failed together.
    pub fn failed(&mut self, key: &K, now: Instant, jitter: f32) {
        let failures = self.waiting.get(key).map_or(0, |wait| wait.failures);
        let until = now + backoff(failures, jitter);
        let failures = failures + 1;
        self.waiting.insert(key.clone(), Wait { until, failures });
    }

    /// Forgets what may be done now anyway.
    pub fn tidy(&mut self, now: Instant) {
        self.waiting.retain(|_, wait| wait.until + LONGEST_BACKOFF > now);
    }
}

/// Longest time between two tries.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(9);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// How long to wait after so many failures in a row before: twice as long each time, up to a bound, plus up to half of
/// it by `jitter` (0 to 1).
pub fn backoff(failures: u32, jitter: f32) -> Duration {
    let plain = FIRST_BACKOFF
        .saturating_mul(2u32.saturating_pow(failures))
        .min(LONGEST_BACKOFF * 2 / 3);
    plain + plain.mul_f32(jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn changes_that_follow_at_once_are_one_round() {
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
    fn changes_without_end_do_not_put_the_round_off_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(100 * MS, 500 * MS);
        for step in 0..100 {
            debounce.touch(start + step * 50 * MS);
        }
        assert_eq!(debounce.due(), Some(start + 500 * MS));
    }

    #[test]
    fn what_has_been_done_waits_its_time_and_nothing_else_does() {
        let now = Instant::now();
        let mut pace = Pace::new(1000 * MS);
        assert_eq!(pace.wait(&"a", now), None);
        pace.succeeded(&"a", now);
        assert_eq!(pace.wait(&"a", now + 10 * MS), Some(now + 1000 * MS));
        assert_eq!(pace.wait(&"b", now + 10 * MS), None);
        assert_eq!(pace.wait(&"a", now + 1000 * MS), None);
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_bound_until_it_succeeds() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.failed(&"a", now, 1.0);
            waits.push(pace.wait(&"a", now).unwrap() - now);
        }
        assert!(waits.is_sorted() && waits[0] == 750 * MS, "{waits:?}");
        assert_eq!(waits[7], LONGEST_BACKOFF);
        pace.succeeded(&"a", now);
        pace.failed(&"a", now, 0.0);
        assert_eq!(pace.wait(&"a", now), Some(now + 500 * MS));
    }

    #[test]
    fn a_failure_is_forgotten_only_long_after_its_turn() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        pace.failed(&"a", now, 0.0);
        pace.tidy(now + 600 * MS);
        pace.failed(&"a", now, 0.0);
        assert_eq!(pace.wait(&"a", now), Some(now + 1000 * MS));
        pace.tidy(now + Duration::from_mins(1));
        pace.failed(&"a", now, 0.0);
        assert_eq!(pace.wait(&"a", now), Some(now + 500 * MS));
    }
}

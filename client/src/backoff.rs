//! Exponential backoff with jitter.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long to wait after consecutive failures: twice as long each time, between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The backoff for requests to the API server.
    pub const API: Self = Self::new(Duration::from_millis(500), Duration::from_secs(9));

    /// Creates a backoff from its shortest and its longest delay. Jitter is included in the longest one.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the delay after a number of earlier failures. `jitter`, from 0 to 1, adds up to half of the
    /// delay: it keeps processes that failed together from retrying together.
    pub fn delay(&self, failures: u32, jitter: f32) -> Duration {
        let factor = 2u32.saturating_pow(failures);
        let plain = self.first.saturating_mul(factor).min(self.longest * 2 / 3);
        plain + plain.mul_f32(jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Returns the longest delay.
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

/// Returns a random number from 0 to 1.
pub fn jitter() -> f32 {
    fastrand::f32()
}

/// When each of many operations may run next.
#[derive(Debug)]
pub struct RetrySchedule<K> {
    backoff: Backoff,
    waiting: BTreeMap<K, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    failures: u32,
}

impl<K: Ord + Clone> RetrySchedule<K> {
    /// Creates a schedule in which every operation may run at once.
    pub const fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            waiting: BTreeMap::new(),
        }
    }

    /// Returns until when an operation has to wait; `None` if it may run now.
    pub fn wait(&self, key: &K, now: Instant) -> Option<Instant> {
        let until = self.waiting.get(key)?.until;
        (until > now).then_some(until)
    }

    /// Records a success. The next attempt is due after `interval`.
    pub fn succeeded(&mut self, key: &K, now: Instant, interval: Duration) {
        let until = now + interval;
        self.waiting.insert(key.clone(), Wait { until, failures: 0 });
    }

    /// Records a failure. `jitter` is from 0 to 1.
    pub fn failed(&mut self, key: &K, now: Instant, jitter: f32) {
        let failures = self.waiting.get(key).map_or(0, |wait| wait.failures);
        let until = now + self.backoff.delay(failures, jitter);
        let failures = failures + 1;
        self.waiting.insert(key.clone(), Wait { until, failures });
    }

    /// Removes operations that may run, and that have not failed for a while.
    pub fn prune(&mut self, now: Instant) {
        let longest = self.backoff.longest();
        self.waiting.retain(|_, wait| wait.until + longest > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule() -> RetrySchedule<&'static str> {
        RetrySchedule::new(Backoff::API)
    }

    #[test]
    fn an_operation_waits_for_its_interval_after_a_success_and_others_do_not() {
        let now = Instant::now();
        let mut schedule = schedule();
        assert_eq!(schedule.wait(&"a", now), None);
        schedule.succeeded(&"a", now, 1000 * MS);
        assert_eq!(schedule.wait(&"a", now + 10 * MS), Some(now + 1000 * MS));
        assert_eq!(schedule.wait(&"b", now + 10 * MS), None);
        assert_eq!(schedule.wait(&"a", now + 1000 * MS), None);
    }

    #[test]
    fn delays_grow_with_each_failure_up_to_a_bound_and_a_success_resets_them() {
        let now = Instant::now();
        let mut schedule = schedule();
        let mut delays = Vec::new();
        for _ in 0..8 {
            schedule.failed(&"a", now, 1.0);
            delays.push(schedule.wait(&"a", now).unwrap() - now);
        }
        assert!(delays.is_sorted() && delays[0] == 750 * MS, "{delays:?}");
        assert_eq!(delays[7], Backoff::API.longest());
        schedule.succeeded(&"a", now, Duration::ZERO);
        schedule.failed(&"a", now, 0.0);
        assert_eq!(schedule.wait(&"a", now), Some(now + 500 * MS));
    }

    #[test]
    fn a_failure_is_pruned_only_long_after_its_delay() {
        let now = Instant::now();
        let mut schedule = schedule();
        schedule.failed(&"a", now, 0.0);
        schedule.prune(now + 600 * MS);
        schedule.failed(&"a", now, 0.0);
        assert_eq!(schedule.wait(&"a", now), Some(now + 1000 * MS));
        schedule.prune(now + Duration::from_mins(1));
        schedule.failed(&"a", now, 0.0);
        assert_eq!(schedule.wait(&"a", now), Some(now + 500 * MS));
    }

    #[test]
    fn jitter_adds_at_most_half_and_never_exceeds_the_bound() {
        let backoff = Backoff::API;
        assert_eq!(backoff.delay(0, 0.0), 500 * MS);
        assert_eq!(backoff.delay(0, 1.0), 750 * MS);
        assert_eq!(backoff.delay(40, 1.0), backoff.longest());
        let random: Vec<f32> = (0..100).map(|_| jitter()).collect();
        assert!(random.iter().all(|number| (0.0..=1.0).contains(number)));
    }
}

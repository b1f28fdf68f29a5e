//! How many unknown tokens are reviewed: each costs the API server a request, and anyone can send them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::serve::places::Network;

/// Reviews that one network gets at once, and then in each period.
const PER_NETWORK: (u32, Duration) = (5, Duration::from_secs(1));
/// Reviews of all networks at once, and then in each period.
const TOTAL: (u32, Duration) = (20, Duration::from_millis(200));
/// Networks whose use is remembered.
const MOST: usize = 1024;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    size: u32,
    period: Duration,
    left: u32,
    /// When `left` was last increased.
    filled: Instant,
}

impl Bucket {
    const fn full((size, period): (u32, Duration), now: Instant) -> Self {
        Self {
            size,
            period,
            left: size,
            filled: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let periods = (passed.as_millis() / self.period.as_millis()) as u64;
        let added = u32::try_from(periods).unwrap_or(u32::MAX);
        self.filled += self.period * added;
        self.left = self.left.saturating_add(added).min(self.size);
    }

    const fn is_full(&self) -> bool {
        self.left == self.size
    }
}

/// The reviews that are left.
#[derive(Debug)]
pub(super) struct ReviewBudget {
    total: Bucket,
    networks: BTreeMap<Network, Bucket>,
}

impl ReviewBudget {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            total: Bucket::full(TOTAL, now),
            networks: BTreeMap::new(),
        }
    }

    /// Adds what the time has brought.
    pub(super) fn refill(&mut self, now: Instant) {
        self.total.refill(now);
        self.networks.retain(|_, bucket| {
            bucket.refill(now);
            !bucket.is_full()
        });
    }

    /// Returns whether a network has a review.
    pub(super) fn has(&self, network: Network) -> bool {
        let own = self.networks.get(&network);
        let has_own = own.map_or(self.networks.len() < MOST, |bucket| bucket.left > 0);
        self.total.left > 0 && has_own
    }

    /// Uses one review of a network that has one.
    pub(super) fn spend(&mut self, network: Network, now: Instant) {
        let new = Bucket::full(PER_NETWORK, now);
        let own = self.networks.entry(network).or_insert(new);
        own.left = own.left.saturating_sub(1);
        self.total.left = self.total.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn network(last: u32) -> Network {
        Network::V4(Ipv4Addr::from_bits(0x0a00_0000 + last))
    }

    fn spend(budget: &mut ReviewBudget, from: Network, attempts: usize, now: Instant) -> usize {
        budget.refill(now);
        let mut spend = || {
            let has = budget.has(from);
            if has {
                budget.spend(from, now);
            }
            has
        };
        (0..attempts).filter(|_| spend()).count()
    }

    #[test]
    fn a_network_that_has_used_up_its_reviews_leaves_those_of_others() {
        let start = Instant::now();
        let mut budget = ReviewBudget::new(start);
        assert_eq!(spend(&mut budget, network(1), 1000, start), 5);
        assert_eq!(spend(&mut budget, network(2), 1, start), 1);
        assert_eq!(spend(&mut budget, network(1), 1000, start + 2 * SECOND), 2);
    }

    #[test]
    fn all_networks_together_get_a_bounded_number_of_reviews() {
        let start = Instant::now();
        let mut budget = ReviewBudget::new(start);
        let spent: usize = (0..5000)
            .map(|last| spend(&mut budget, network(last), 5, start))
            .sum();
        assert_eq!(spent, 20);
        let later = start + 2 * SECOND;
        let spent: usize = (0..5000)
            .map(|last| spend(&mut budget, network(last), 5, later))
            .sum();
        assert_eq!(spent, 10);
    }

    #[test]
    fn what_is_remembered_of_networks_is_bounded_and_forgotten() {
        let mut now = Instant::now();
        let mut budget = ReviewBudget::new(now);
        for last in 0..10_000 {
            now += Duration::from_millis(200);
            spend(&mut budget, network(last), 1, now);
            assert!(budget.networks.len() <= 10);
        }
    }
}

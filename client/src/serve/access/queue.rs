//! Which request has its token reviewed next.
//!
//! Networks from which an allowed token came are known. They have reviews of their own, so that unknown
//! networks, however many, do not delay a new token of a known one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::budget::ReviewBudget;
use crate::serve::{
    fair::{FairQueue, QueueLimits},
    places::Network,
};

/// Concurrent reviews of known networks, and as many of unknown ones.
const CONCURRENT: usize = 4;
/// Requests that wait for their review.
const WAITING: QueueLimits = QueueLimits {
    total: 64,
    per_network: 8,
};
/// How long a network stays known after its last allowed token.
const KNOWN: Duration = Duration::from_hours(1);
/// Networks that are known at most. A cluster has a few scrapers.
const MOST_KNOWN: usize = 64;

/// A request that waits, or whose token is reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    is_known: bool,
    number: u64,
}

/// What a request that waits does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Its token is reviewed.
    Now,
    /// It waits.
    Later,
    /// It has been dropped in favour of another network.
    Never,
}

/// The reviews of a part of all networks.
#[derive(Debug)]
struct Share {
    budget: ReviewBudget,
    queue: FairQueue,
    running: usize,
}

impl Share {
    const fn new(now: Instant) -> Self {
        Self {
            budget: ReviewBudget::new(now),
            queue: FairQueue::new(WAITING),
            running: 0,
        }
    }

    fn start(&mut self, number: u64, now: Instant) -> Start {
        let Some(network) = self.queue.network(number) else {
            return Start::Never;
        };
        self.budget.refill(now);
        let is_first = || self.queue.first(|network| self.budget.has(network)) == Some(number);
        if self.running >= CONCURRENT || !is_first() {
            return Start::Later;
        }
        self.queue.serve(number);
        self.budget.spend(network, now);
        self.running += 1;
        Start::Now
    }
}

/// The requests that wait for a review, and those that have one.
#[derive(Debug)]
pub(super) struct ReviewQueue {
    unknown: Share,
    known: Share,
    /// When a token of a network was last allowed.
    networks: BTreeMap<Network, Instant>,
}

impl ReviewQueue {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            unknown: Share::new(now),
            known: Share::new(now),
            networks: BTreeMap::new(),
        }
    }

    /// Records that a token from a network was allowed.
    pub(super) fn learn(&mut self, network: Network, now: Instant) {
        self.networks.insert(network, now);
        if self.networks.len() > MOST_KNOWN
            && let Some((&oldest, _)) = self.networks.iter().min_by_key(|(_, allowed)| **allowed)
        {
            self.networks.remove(&oldest);
        }
    }

    /// Adds a request. Returns `None` if too many wait.
    pub(super) fn join(&mut self, network: Network, now: Instant) -> Option<Ticket> {
        let allowed = self.networks.get(&network);
        let is_known = allowed.is_some_and(|allowed| now.saturating_duration_since(*allowed) <= KNOWN);
        let number = self.share(is_known).queue.join(network)?;
        Some(Ticket { is_known, number })
    }

    /// Starts the review of a request, if it is its turn.
    pub(super) fn start(&mut self, ticket: Ticket, now: Instant) -> Start {
        self.share(ticket.is_known).start(ticket.number, now)
    }

    /// Removes a request whose review has not started.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.share(ticket.is_known).queue.leave(ticket.number);
    }

    /// Records the end of a review.
    pub(super) fn end(&mut self, ticket: Ticket) {
        let share = self.share(ticket.is_known);
        share.running = share.running.saturating_sub(1);
    }

    const fn share(&mut self, is_known: bool) -> &mut Share {
        if is_known {
            &mut self.known
        } else {
            &mut self.unknown
        }
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

    /// Joins, and returns whether the review starts at once.
    fn starts(queue: &mut ReviewQueue, last: u32, now: Instant) -> bool {
        let ticket = queue.join(network(last), now);
        ticket.is_some_and(|ticket| queue.start(ticket, now) == Start::Now)
    }

    #[test]
    fn unknown_networks_do_not_delay_a_known_one() {
        let start = Instant::now();
        let mut queue = ReviewQueue::new(start);
        queue.learn(network(0), start);
        for last in 1..5000 {
            starts(&mut queue, last, start);
        }
        assert!(!starts(&mut queue, 5000, start), "all of the unknown are in use");
        assert!(starts(&mut queue, 0, start));
        let much_later = start + KNOWN + SECOND;
        assert!(!starts(&mut queue, 0, much_later), "no longer known");
    }

    #[test]
    fn few_reviews_run_at_the_same_time_and_the_end_of_one_starts_another() {
        let start = Instant::now();
        let mut queue = ReviewQueue::new(start);
        let tickets: Vec<Ticket> = (0..6)
            .map(|last| queue.join(network(last), start).unwrap())
            .collect();
        let begun: Vec<Start> = tickets.iter().map(|ticket| queue.start(*ticket, start)).collect();
        assert_eq!(begun[..4], [Start::Now; 4]);
        assert_eq!(begun[4..], [Start::Later; 2]);
        queue.end(tickets[0]);
        assert_eq!(
            queue.start(tickets[5], start),
            Start::Later,
            "not before the fifth"
        );
        queue.leave(tickets[4]);
        assert_eq!(queue.start(tickets[5], start), Start::Now);
    }

    /// Nine networks send tokens all the time. Reviews end at once; five start per second.
    #[test]
    fn a_networks_request_is_not_starved_by_those_that_come_after_it() {
        let start = Instant::now();
        let mut queue = ReviewQueue::new(start);
        for last in 100..120 {
            let ticket = queue.join(network(last), start).unwrap();
            assert_eq!(queue.start(ticket, start), Start::Now);
            queue.end(ticket);
        }
        let mut waiting: Vec<Ticket> = Vec::new();
        let join_all = |queue: &mut ReviewQueue, waiting: &mut Vec<Ticket>, now| {
            waiting.extend((1..10).filter_map(|last| queue.join(network(last), now)));
        };
        for _ in 0..5 {
            join_all(&mut queue, &mut waiting, start);
        }
        let victim = queue.join(network(0), start).unwrap();
        waiting.push(victim);
        let mut now = start;
        while waiting.contains(&victim) {
            now += SECOND / 10;
            assert!(now < start + 3 * SECOND, "longer than a request waits");
            join_all(&mut queue, &mut waiting, now);
            waiting.retain(|ticket| match queue.start(*ticket, now) {
                Start::Now => {
                    queue.end(*ticket);
                    false
                }
                Start::Later => true,
                Start::Never => {
                    assert_ne!(*ticket, victim);
                    false
                }
            });
        }
    }

    #[test]
    fn what_is_known_is_bounded() {
        let start = Instant::now();
        let mut queue = ReviewQueue::new(start);
        for last in 0..10_000 {
            queue.learn(network(last), start + last * SECOND);
        }
        assert_eq!(queue.networks.len(), MOST_KNOWN);
        assert!(queue.networks.contains_key(&network(9_999)));
    }
}

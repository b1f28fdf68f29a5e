//! Which scrapes run at the same time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::serve::{
    fair::{FairQueue, QueueLimits},
    places::Network,
};

/// Concurrent scrapes: a cluster has one Prometheus, or two.
pub(in crate::serve) const SCRAPES: usize = 2;
/// Scrapes that wait.
const WAITING: QueueLimits = QueueLimits {
    total: 64,
    per_network: 8,
};
/// A scrape that has waited this long for its client gives way to that of another network.
const STALLED: Duration = Duration::from_secs(1);

/// The networks whose scrapes run, and the scrapes that wait. Each network has one at a time, so that one
/// slow client leaves the others a turn. `C` is a client that can be disconnected.
#[derive(Debug)]
pub(super) struct Turns<C> {
    running: BTreeMap<Network, RunningScrape<C>>,
    queue: FairQueue,
}

#[derive(Debug)]
struct RunningScrape<C> {
    client: C,
    /// How long it has waited for its client to read.
    stalled: Duration,
    /// Since when it waits now.
    since: Option<Instant>,
}

impl<C> RunningScrape<C> {
    fn stalled(&self, now: Instant) -> Duration {
        let present = self.since.map(|since| now.saturating_duration_since(since));
        self.stalled + present.unwrap_or_default()
    }
}

/// What a scrape that waits does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<C> {
    /// It runs.
    Now,
    /// It waits.
    Later,
    /// It waits for the end of this client, which is to be disconnected.
    After(C),
    /// It has been dropped in favour of another network.
    Never,
}

impl<C: Clone> Turns<C> {
    pub(super) const fn new() -> Self {
        Self {
            running: BTreeMap::new(),
            queue: FairQueue::new(WAITING),
        }
    }

    /// Adds a scrape that waits. Returns `None` if too many do.
    pub(super) fn join(&mut self, network: Network) -> Option<u64> {
        self.queue.join(network)
    }

    /// Starts a scrape that waits, if it is its turn.
    pub(super) fn start(&mut self, ticket: u64, client: C, now: Instant) -> Start<C> {
        let Some(network) = self.queue.network(ticket) else {
            return Start::Never;
        };
        let first = self.queue.first(|network| !self.running.contains_key(&network));
        if first != Some(ticket) {
            return Start::Later;
        }
        if self.running.len() >= SCRAPES {
            return self.stalled(now).map_or(Start::Later, Start::After);
        }
        self.queue.serve(ticket);
        let scrape = RunningScrape {
            client,
            stalled: Duration::ZERO,
            since: None,
        };
        self.running.insert(network, scrape);
        Start::Now
    }

    /// Removes a scrape that no longer waits.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.queue.leave(ticket);
    }

    /// Ends the scrape of a network.
    pub(super) fn end(&mut self, network: Network) {
        self.running.remove(&network);
    }

    /// Records that the scrape of a network waits for its client.
    pub(super) fn pause(&mut self, network: Network, now: Instant) {
        if let Some(scrape) = self.running.get_mut(&network) {
            scrape.since = Some(now);
        }
    }

    /// Records that the client has read.
    pub(super) fn resume(&mut self, network: Network, now: Instant) {
        if let Some(scrape) = self.running.get_mut(&network) {
            scrape.stalled = scrape.stalled(now);
            scrape.since = None;
        }
    }

    /// Returns the client that has delayed its scrape for the longest time, if that is too long.
    fn stalled(&self, now: Instant) -> Option<C> {
        let slowest = self.running.values().max_by_key(|scrape| scrape.stalled(now))?;
        (slowest.stalled(now) >= STALLED).then(|| slowest.client.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn network(last: u8) -> Network {
        Network::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    /// Joins and starts. Returns the ticket.
    fn join(turns: &mut Turns<u8>, last: u8, now: Instant) -> (u64, Start<u8>) {
        let ticket = turns.join(network(last)).unwrap();
        (ticket, turns.start(ticket, last, now))
    }

    #[test]
    fn each_network_has_one_scrape_at_a_time_and_all_have_two() {
        let (mut turns, now) = (Turns::new(), Instant::now());
        assert_eq!(join(&mut turns, 1, now).1, Start::Now);
        let (second, start) = join(&mut turns, 1, now);
        assert_eq!(start, Start::Later);
        assert_eq!(join(&mut turns, 2, now).1, Start::Now);
        let (third, start) = join(&mut turns, 3, now);
        assert_eq!(start, Start::Later);
        turns.end(network(1));
        assert_eq!(
            turns.start(third, 3, now),
            Start::Later,
            "the second of network 1 was first"
        );
        assert_eq!(turns.start(second, 1, now), Start::Now);
        turns.end(network(2));
        assert_eq!(turns.start(third, 3, now), Start::Now);
    }

    #[test]
    fn two_networks_that_scrape_all_the_time_leave_a_third_its_turn() {
        let (mut turns, now) = (Turns::new(), Instant::now());
        for last in [1, 2] {
            assert_eq!(join(&mut turns, last, now).1, Start::Now);
        }
        let waiting = [1, 2, 1, 2].map(|last| join(&mut turns, last, now).0);
        let (third, _) = join(&mut turns, 3, now);
        for (ticket, last) in [(waiting[0], 1), (waiting[1], 2)] {
            turns.end(network(last));
            assert_eq!(turns.start(third, 3, now), Start::Later, "{last} came before");
            assert_eq!(turns.start(ticket, last, now), Start::Now);
        }
        turns.end(network(1));
        assert_eq!(turns.start(waiting[2], 1, now), Start::Later);
        assert_eq!(turns.start(third, 3, now), Start::Now);
    }

    #[test]
    fn a_client_that_does_not_read_gives_way_to_another_network() {
        let (mut turns, start) = (Turns::new(), Instant::now());
        for last in [1, 2] {
            join(&mut turns, last, start);
        }
        let (third, _) = join(&mut turns, 3, start);
        // The first client reads at last; the second one does not.
        turns.pause(network(1), start);
        turns.resume(network(1), start + STALLED / 2);
        turns.pause(network(2), start);
        assert_eq!(turns.start(third, 3, start + STALLED / 2), Start::Later);
        assert_eq!(turns.start(third, 3, start + STALLED), Start::After(2));
        turns.end(network(2));
        assert_eq!(turns.start(third, 3, start + STALLED), Start::Now);
    }

    #[test]
    fn a_scrape_that_is_long_because_of_its_size_does_not_give_way() {
        let (mut turns, start) = (Turns::new(), Instant::now());
        for last in [1, 2] {
            join(&mut turns, last, start);
        }
        let (third, _) = join(&mut turns, 3, start);
        assert_eq!(turns.start(third, 3, start + 60 * STALLED), Start::Later);
    }

    #[test]
    fn pauses_of_a_client_add_up() {
        let (mut turns, start) = (Turns::new(), Instant::now());
        for last in [1, 2] {
            join(&mut turns, last, start);
        }
        let (third, _) = join(&mut turns, 3, start);
        for number in 0..10_u32 {
            turns.pause(network(1), start + STALLED * number);
            turns.resume(network(1), start + STALLED * number + STALLED / 10);
        }
        assert_eq!(turns.start(third, 3, start + STALLED * 20), Start::After(1));
    }
}

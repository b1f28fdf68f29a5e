//! Requests that wait, in an order that is fair between networks.
//!
//! Each request gets a rank: the one after the rank that is being served, or after the last one of its own
//! network. Lower ranks are served first. So the first request of a network waits for at most one of each
//! other network, however many requests those have.

use std::collections::BTreeMap;

use crate::serve::places::Network;

/// Upper bounds of requests that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) total: usize,
    pub(super) per_network: usize,
}

/// The requests that wait, by ticket.
#[derive(Debug)]
pub(super) struct FairQueue {
    limits: QueueLimits,
    next: u64,
    /// The rank that is served.
    rank: u64,
    waiting: BTreeMap<u64, WaitingRequest>,
}

#[derive(Clone, Copy, Debug)]
struct WaitingRequest {
    network: Network,
    rank: u64,
}

impl FairQueue {
    pub(super) const fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            next: 0,
            rank: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Adds a request, and returns its ticket. A full queue drops the last request of the network that has
    /// the most, or refuses.
    pub(super) fn join(&mut self, network: Network) -> Option<u64> {
        let own = self.of(network).count();
        if own >= self.limits.per_network {
            return None;
        }
        if self.waiting.len() >= self.limits.total {
            let dropped = self.last_of_heaviest(own + 1)?;
            self.waiting.remove(&dropped);
        }
        let last = self.of(network).map(|(_, request)| request.rank).max();
        let rank = last.unwrap_or_default().max(self.rank) + 1;
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, WaitingRequest { network, rank });
        Some(ticket)
    }

    /// Returns the ticket that is served next, among the networks that may be served.
    pub(super) fn first(&self, may_be_served: impl Fn(Network) -> bool) -> Option<u64> {
        let mut eligible: Vec<_> = self.waiting.iter().collect();
        eligible.sort_unstable_by_key(|(ticket, request)| (request.rank, **ticket));
        let mut eligible = eligible.into_iter();
        let first = eligible.find(|(_, request)| may_be_served(request.network));
        first.map(|(ticket, _)| *ticket)
    }

    /// Returns the network of a request that waits.
    pub(super) fn network(&self, ticket: u64) -> Option<Network> {
        self.waiting.get(&ticket).map(|request| request.network)
    }

    /// Removes a request that is served now.
    pub(super) fn serve(&mut self, ticket: u64) {
        if let Some(request) = self.waiting.remove(&ticket) {
            self.rank = self.rank.max(request.rank);
        }
    }

    /// Removes a request that no longer waits.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    fn of(&self, network: Network) -> impl Iterator<Item = (u64, WaitingRequest)> {
        let all = self.waiting.iter().map(|(ticket, request)| (*ticket, *request));
        all.filter(move |(_, request)| request.network == network)
    }

    /// Returns the last request of the network that has the most, if it has more than `own`.
    fn last_of_heaviest(&self, own: usize) -> Option<u64> {
        let mut counts: BTreeMap<Network, (usize, u64)> = BTreeMap::new();
        for (ticket, request) in &self.waiting {
            let (count, last) = counts.entry(request.network).or_default();
            *count += 1;
            *last = *ticket;
        }
        let (count, last) = counts.into_values().max()?;
        (count > own).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: QueueLimits = QueueLimits {
        total: 12,
        per_network: 8,
    };

    fn network(last: u8) -> Network {
        Network::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    fn join(queue: &mut FairQueue, last: u8, count: usize) -> usize {
        (0..count).filter(|_| queue.join(network(last)).is_some()).count()
    }

    /// Serves all requests, and returns their networks in order.
    fn serve_all(queue: &mut FairQueue) -> Vec<Network> {
        let mut served = Vec::new();
        while let Some(ticket) = queue.first(|_| true) {
            served.extend(queue.network(ticket));
            queue.serve(ticket);
        }
        served
    }

    #[test]
    fn a_networks_first_request_is_served_before_the_second_of_another() {
        let mut queue = FairQueue::new(LIMITS);
        join(&mut queue, 1, 3);
        join(&mut queue, 2, 1);
        assert_eq!(serve_all(&mut queue), [1, 2, 1, 1].map(network));
    }

    #[test]
    fn a_network_that_comes_later_is_not_served_before_one_that_waits() {
        let mut queue = FairQueue::new(LIMITS);
        join(&mut queue, 1, 2);
        queue.serve(0);
        for last in 2..6 {
            join(&mut queue, last, 1);
        }
        assert_eq!(
            serve_all(&mut queue)[0],
            network(1),
            "its second is one rank later"
        );
    }

    #[test]
    fn a_network_that_may_not_be_served_does_not_delay_others() {
        let mut queue = FairQueue::new(LIMITS);
        join(&mut queue, 1, 2);
        join(&mut queue, 2, 1);
        assert_eq!(queue.first(|other| other != network(1)), Some(2));
        assert_eq!(queue.first(|_| false), None);
    }

    #[test]
    fn a_full_queue_drops_the_last_request_of_the_network_with_the_most() {
        let mut queue = FairQueue::new(LIMITS);
        assert_eq!(join(&mut queue, 1, 20), 8);
        assert_eq!(join(&mut queue, 2, 20), 6, "two of the other's eight give way");
        assert_eq!(join(&mut queue, 3, 1), 1);
        assert_eq!(queue.waiting.len(), LIMITS.total);
        assert!(queue.network(0).is_some(), "the first of network 1 stays");
    }

    #[test]
    fn a_full_queue_of_equal_networks_refuses() {
        let mut queue = FairQueue::new(LIMITS);
        for last in 0..12 {
            join(&mut queue, last, 1);
        }
        assert_eq!(join(&mut queue, 200, 1), 0);
        queue.leave(3);
        assert_eq!(join(&mut queue, 200, 1), 1);
    }

    proptest! {
        /// Whatever other networks do, before and while a request waits.
        #[test]
        fn a_networks_only_request_waits_for_at_most_one_of_each_other(
            before in proptest::collection::vec(1_u8..5, 0..8),
            between in proptest::collection::vec((1_u8..5, any::<bool>()), 0..200),
        ) {
            let limits = QueueLimits { total: 1000, per_network: 100 };
            let mut queue = FairQueue::new(limits);
            for last in before {
                queue.join(network(last));
            }
            let ticket = queue.join(network(9)).unwrap();
            let mut others = Vec::new();
            for (last, is_served) in between {
                queue.join(network(last));
                if !is_served {
                    continue;
                }
                let first = queue.first(|_| true).unwrap();
                if first == ticket {
                    break;
                }
                others.extend(queue.network(first));
                queue.serve(first);
            }
            for last in 1..5 {
                prop_assert!(others.iter().filter(|other| **other == network(last)).count() <= 1);
            }
        }
    }
}

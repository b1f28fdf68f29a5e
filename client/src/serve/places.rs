//! The places for connections: how many there are, and which connection gives way to another one.
//!
//! Places are shared out by [`Network`], so that one client cannot keep others out: neither with idle
//! connections, nor with slow ones.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

/// Where one network may hold all places, none of its connections gives way in this time: each can send its
/// request, however fast others connect.
const GRACE: Duration = Duration::from_millis(250);

/// The clients that share places: one IPv4 address, or one IPv6 prefix of 64 bits, in which a client chooses
/// its addresses. All loopback addresses are one network, because a process can use any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Upper bounds of concurrent connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceLimits {
    pub(super) total: usize,
    pub(super) per_network: usize,
}

impl PlaceLimits {
    /// Returns whether one network may hold all places, so that a new connection of it can wait without
    /// delaying others.
    const fn is_of_one_network(self) -> bool {
        self.per_network >= self.total
    }
}

/// What a new connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A place, which is free now.
    Free,
    /// A place, if it asks again after this time.
    After(Duration),
    /// No place.
    Full,
}

/// The connections that hold places, in the order of their arrival. Dropping a connection's `T` ends it.
#[derive(Debug)]
pub(super) struct Places<T> {
    limits: PlaceLimits,
    next: u64,
    held: BTreeMap<u64, HeldPlace<T>>,
}

#[derive(Debug)]
struct HeldPlace<T> {
    network: Network,
    since: Instant,
    /// Whether the connection has carried a request.
    busy: bool,
    _connection: T,
}

impl<T> Places<T> {
    pub(super) const fn new(limits: PlaceLimits) -> Self {
        let held = BTreeMap::new();
        Self {
            limits,
            next: 0,
            held,
        }
    }

    /// Finds a place for a new connection. Where all places are taken, another connection gives way.
    pub(super) fn make_room(&mut self, network: Network, now: Instant) -> Room {
        let own = self.of(network).count();
        let displaced = if own >= self.limits.per_network {
            self.oldest_idle(network)
        } else if self.held.len() >= self.limits.total {
            self.unfair(own + 1)
        } else {
            return Room::Free;
        };
        let Some(displaced) = displaced else {
            return Room::Full;
        };
        match self.grace(displaced, now) {
            Duration::ZERO => {
                self.held.remove(&displaced);
                Room::Free
            }
            grace => Room::After(grace),
        }
    }

    /// Returns how long a connection does not give way yet.
    fn grace(&self, number: u64, now: Instant) -> Duration {
        match self.held.get(&number) {
            Some(place) if self.limits.is_of_one_network() => {
                GRACE.saturating_sub(now.saturating_duration_since(place.since))
            }
            _ => Duration::ZERO,
        }
    }

    /// Gives a place to a new connection, and returns its number.
    pub(super) fn hold(&mut self, network: Network, connection: T, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let place = HeldPlace {
            network,
            since: now,
            busy: false,
            _connection: connection,
        };
        self.held.insert(number, place);
        number
    }

    /// Records that a connection has carried a request.
    pub(super) fn set_busy(&mut self, number: u64) {
        if let Some(place) = self.held.get_mut(&number) {
            place.busy = true;
        }
    }

    /// Returns whether a connection has carried a request.
    pub(super) fn is_busy(&self, number: u64) -> bool {
        self.held.get(&number).is_some_and(|place| place.busy)
    }

    /// Frees the place of a connection that has ended.
    pub(super) fn release(&mut self, number: u64) {
        self.held.remove(&number);
    }

    /// Returns the numbers of a network's connections, the oldest first.
    fn of(&self, network: Network) -> impl Iterator<Item = (u64, &HeldPlace<T>)> {
        let all = self.held.iter().map(|(number, place)| (*number, place));
        all.filter(move |(_, place)| place.network == network)
    }

    fn oldest_idle(&self, network: Network) -> Option<u64> {
        let mut idle = self.of(network).filter(|(_, place)| !place.busy);
        idle.next().map(|(number, _)| number)
    }

    /// Selects a connection of the network that has the most, the oldest idle one first. Of networks with as
    /// many, it is the one that has held a connection for the longest time, so that no address is preferred.
    /// A busy connection gives way only to a network that has fewer connections, the new one included.
    fn unfair(&self, own: usize) -> Option<u64> {
        let mut counts: BTreeMap<Network, (usize, Reverse<u64>)> = BTreeMap::new();
        for (number, place) in &self.held {
            counts.entry(place.network).or_insert((0, Reverse(*number))).0 += 1;
        }
        let (heaviest, (count, _)) = counts.into_iter().max_by_key(|(_, weight)| *weight)?;
        let found = self.oldest_idle(heaviest);
        if own < count {
            return found.or_else(|| self.of(heaviest).next().map(|(number, _)| number));
        }
        let any_idle = || self.held.iter().find(|(_, place)| !place.busy);
        found.or_else(|| any_idle().map(|(number, _)| *number))
    }
}

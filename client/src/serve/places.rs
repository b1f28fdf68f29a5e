//! The places for connections: how many there are, and which connection gives way to another one.
//!
//! Places are shared out by [`Network`], so that one client cannot keep others out: neither with idle
//! connections, nor with slow ones.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

/// The clients that share places: one IPv4 address, or one IPv6 prefix of 64 bits, in which a client chooses
/// its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
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

    /// Gives a place to a new connection, and returns its number. Where all places are taken, another
    /// connection gives way. Returns `None` if the new connection must be closed.
    pub(super) fn admit(&mut self, network: Network, connection: T) -> Option<u64> {
        let own = self.of(network).count();
        if own >= self.limits.per_network {
            let displaced = self.oldest_idle(network)?;
            self.held.remove(&displaced);
        } else if self.held.len() >= self.limits.total {
            let displaced = self.unfair(own + 1)?;
            self.held.remove(&displaced);
        }
        let number = self.next;
        self.next += 1;
        let place = HeldPlace {
            network,
            busy: false,
            _connection: connection,
        };
        self.held.insert(number, place);
        Some(number)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PlaceLimits = PlaceLimits {
        total: 8,
        per_network: 4,
    };

    fn network(address: &str) -> Network {
        address.parse::<IpAddr>().unwrap().into()
    }

    /// Admits connections of one network, and returns their numbers.
    fn admit(places: &mut Places<()>, address: &str, count: usize) -> Vec<Option<u64>> {
        (0..count).map(|_| places.admit(network(address), ())).collect()
    }

    fn held(places: &Places<()>, address: &str) -> Vec<u64> {
        let of = places.held.iter();
        of.filter(|(_, place)| place.network == network(address))
            .map(|(number, _)| *number)
            .collect()
    }

    #[test]
    fn a_network_that_is_full_displaces_its_own_oldest_idle_connection() {
        let mut places = Places::new(LIMITS);
        admit(&mut places, "10.0.0.9", 1);
        admit(&mut places, "10.0.0.1", 1000);
        assert_eq!(held(&places, "10.0.0.9"), [0]);
        assert_eq!(held(&places, "10.0.0.1"), [997, 998, 999, 1000]);
    }

    #[test]
    fn a_network_that_is_full_of_requests_gets_no_more() {
        let mut places = Places::new(LIMITS);
        for number in admit(&mut places, "10.0.0.1", 4) {
            places.set_busy(number.unwrap());
        }
        assert_eq!(admit(&mut places, "10.0.0.1", 1), [None]);
        assert_ne!(admit(&mut places, "10.0.0.2", 1), [None]);
        places.release(0);
        assert_ne!(admit(&mut places, "10.0.0.1", 1), [None]);
    }

    #[test]
    fn another_network_gets_its_place_although_all_are_taken_by_requests() {
        let mut places = Places::new(LIMITS);
        for attacker in ["10.0.0.1", "10.0.0.2"] {
            for number in admit(&mut places, attacker, 4) {
                places.set_busy(number.unwrap());
            }
        }
        assert_ne!(admit(&mut places, "10.0.0.3", 1), [None]);
        assert_eq!(places.held.len(), LIMITS.total);
        assert_eq!(held(&places, "10.0.0.3").len(), 1);
    }

    #[test]
    fn among_networks_with_one_place_each_only_idle_connections_give_way() {
        let mut places = Places::new(LIMITS);
        for last in 0..8_u8 {
            admit(&mut places, &format!("10.0.0.{last}"), 1);
        }
        for number in (0..8).filter(|number| *number != 5) {
            places.set_busy(number);
        }
        assert_ne!(admit(&mut places, "10.0.1.1", 1), [None]);
        assert_eq!(held(&places, "10.0.0.5"), [0; 0]);
        places.set_busy(8);
        assert_eq!(admit(&mut places, "10.0.1.2", 1), [None]);
    }

    #[test]
    fn among_equal_networks_the_oldest_connection_gives_way_whatever_its_address() {
        for victim in ["192.0.2.200", "1.0.0.1"] {
            let mut places = Places::new(LIMITS);
            for last in 0..7_u8 {
                admit(&mut places, &format!("10.0.0.{last}"), 1);
            }
            admit(&mut places, victim, 1);
            for last in 7..13_u8 {
                admit(&mut places, &format!("10.0.0.{last}"), 1);
            }
            assert_eq!(held(&places, victim).len(), 1, "{victim}");
        }
    }

    #[test]
    fn the_addresses_of_an_ipv6_prefix_share_their_places() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }

    #[test]
    fn a_connection_is_busy_from_its_request_to_its_end() {
        let mut places = Places::new(LIMITS);
        let number = places.admit(network("10.0.0.1"), ()).unwrap();
        assert!(!places.is_busy(number));
        places.set_busy(number);
        assert!(places.is_busy(number));
        places.release(number);
        assert!(!places.is_busy(number));
    }
}

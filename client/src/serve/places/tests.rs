use super::*;

const LIMITS: PlaceLimits = PlaceLimits {
    total: 8,
    per_network: 4,
};

fn network(address: &str) -> Network {
    address.parse::<IpAddr>().unwrap().into()
}

/// Admits a connection. Returns its number if it gets a place at once.
fn admit_one(places: &mut Places<()>, address: &str, now: Instant) -> Option<u64> {
    let room = places.make_room(network(address), now);
    (room == Room::Free).then(|| places.hold(network(address), (), now))
}

/// Admits connections of one network, and returns their numbers.
fn admit(places: &mut Places<()>, address: &str, count: usize) -> Vec<Option<u64>> {
    let now = Instant::now();
    (0..count).map(|_| admit_one(places, address, now)).collect()
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
    let number = places.hold(network("10.0.0.1"), (), Instant::now());
    assert!(!places.is_busy(number));
    places.set_busy(number);
    assert!(places.is_busy(number));
    places.release(number);
    assert!(!places.is_busy(number));
}

/// One network may hold all places.
const OF_ONE: PlaceLimits = PlaceLimits {
    total: 4,
    per_network: 4,
};

#[test]
fn where_one_network_may_hold_all_places_a_new_connection_does_not_give_way() {
    let (mut places, start) = (Places::new(OF_ONE), Instant::now());
    let address = "127.0.0.1";
    let ages = [0, 100, 200, 220].map(Duration::from_millis);
    for age in ages {
        assert!(admit_one(&mut places, address, start + age).is_some());
    }
    let now = start + ages[3];
    let wait = Room::After(Duration::from_millis(30));
    assert_eq!(places.make_room(network(address), now), wait);
    assert_eq!(held(&places, address), [0, 1, 2, 3], "the wait displaces nothing");
    assert_eq!(admit_one(&mut places, address, start + GRACE), Some(4));
    assert_eq!(held(&places, address), [1, 2, 3, 4]);
    let wait = Room::After(Duration::from_millis(100));
    assert_eq!(places.make_room(network(address), start + GRACE), wait);
}

#[test]
fn a_place_that_is_freed_ends_the_wait() {
    let (mut places, now) = (Places::new(OF_ONE), Instant::now());
    for _ in 0..4 {
        admit_one(&mut places, "127.0.0.1", now);
    }
    assert_eq!(places.make_room(network("127.0.0.1"), now), Room::After(GRACE));
    places.release(2);
    assert_eq!(places.make_room(network("127.0.0.1"), now), Room::Free);
}

#[test]
fn the_wait_is_for_the_oldest_connection_without_a_request() {
    let (mut places, start) = (Places::new(OF_ONE), Instant::now());
    for number in 0..4_u32 {
        admit_one(&mut places, "127.0.0.1", start + number * GRACE / 10);
    }
    places.set_busy(0);
    let wait = Room::After(GRACE / 10);
    assert_eq!(places.make_room(network("127.0.0.1"), start + GRACE), wait);
}

#[test]
fn where_networks_share_places_none_waits() {
    let (mut places, now) = (Places::new(LIMITS), Instant::now());
    for last in 0..10_000_u32 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + last % 9).to_string();
        assert_eq!(places.make_room(network(&address), now), Room::Free);
        places.hold(network(&address), (), now);
    }
}

#[test]
fn all_loopback_addresses_are_one_network() {
    for address in ["127.0.0.2", "127.1.2.3", "::1", "::ffff:127.0.0.9"] {
        assert_eq!(network(address), network("127.0.0.1"), "{address}");
    }
}

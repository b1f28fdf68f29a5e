//! One client port, used directly and by node port in turn: the last opening packet decides whether the stack
//! or the fast path handles the flow.

use xdp_lab::Style;

use super::{
    place::{Place, SOON, request, udp},
    side::Side,
};

const PORT: u16 = 40_001;
const SOME: usize = 20_000;

fn by_different_paths(style: Style, masquerade: bool, policy: bool) {
    let place = Place::new(style, masquerade);
    let _agent = policy.then(|| place.start());
    for side in &place.sides {
        let did = place.stack_did(|| {
            connections(&place, side);
            datagrams(&place, side);
        });
        assert_eq!(did.invalid, 0);
    }
}

fn connections(place: &Place, side: &Side) {
    let [by_node_port, _] = side.node_ports();
    let one_after_the_other = [[side.web(), by_node_port], [by_node_port, side.web()]];
    for (port, paths) in (PORT..).zip(one_after_the_other) {
        for to in paths {
            let mut connection = place.connect(side.any(port), to);
            connection.echo(SOME).unwrap();
            assert_eq!(connection.seen().ip(), side.client);
            assert_eq!(connection.finish().unwrap(), b"bye", "{to}");
        }
    }
}

fn datagrams(place: &Place, side: &Side) {
    let [by_node_port, _] = side.node_ports();
    let mut client = udp(&place.fixture.client, side.any(PORT));
    client.socket().set_read_timeout(Some(20 * SOON)).unwrap();
    for to in [side.web(), by_node_port, side.web(), by_node_port, by_node_port] {
        for _ in 0..2 {
            let reply = request(&mut client, to, 100, 100);
            assert_eq!(reply.seen.ip(), side.client, "{to}");
        }
    }
}

#[test]
fn the_stack_alone_serves_one_port_by_different_paths() {
    by_different_paths(Style::Bridge, true, false);
}

#[test]
fn one_port_by_different_paths_is_served_under_a_policy() {
    by_different_paths(Style::Ptp, false, true);
}

#[test]
fn one_port_by_different_paths_is_served_under_a_policy_behind_masquerade() {
    by_different_paths(Style::Bridge, true, true);
}

#[test]
fn one_port_is_used_a_hundred_times_for_connections_that_end_by_a_reset() {
    let place = Place::new(Style::Bridge, true);
    let _agent = place.start();
    let side = place.sides[1];
    place.is_fast("one port again and again", || {
        for _ in 0..100 {
            let mut connection = place.connect(side.any(PORT), side.web());
            connection.echo(2_000).unwrap();
            connection.reset().unwrap();
        }
    });
}

/// A limitation: the stack does not know the first connection, so it cannot translate the port of the second,
/// as it does when it handles both.
#[test]
fn a_port_with_a_direct_connection_loses_it_to_one_by_node_port_from_the_same_port() {
    let place = Place::new(Style::Ptp, false);
    let _agent = place.start();
    let side = place.sides[0];
    let mut first = place.connect(side.any(PORT), side.web());
    first.echo(SOME).unwrap();
    let mut second = place.connect(side.any(PORT), side.node_ports()[0]);
    second.echo(SOME).unwrap();
    assert_eq!(second.seen().port(), PORT);
    first.echo(SOME).unwrap_err();
    second.echo(SOME).unwrap();
}

#[test]
fn the_stack_alone_gives_the_second_of_two_connections_from_one_port_another_port() {
    let place = Place::new(Style::Ptp, false);
    let side = place.sides[0];
    let mut first = place.connect(side.any(PORT), side.web());
    let mut second = place.connect(side.any(PORT), side.node_ports()[0]);
    assert_ne!(second.seen().port(), PORT);
    first.echo(SOME).unwrap();
    second.echo(SOME).unwrap();
}

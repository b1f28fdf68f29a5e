//! Fragmented datagrams in either direction or both.

use xdp_lab::Style;

use super::place::{Place, request as request_datagram, udp};

fn all_sizes(style: Style, masquerade: bool, policy: bool) {
    let place = Place::new(style, masquerade);
    let _agent = policy.then(|| place.start());
    for side in &place.sides {
        for (request, reply) in [
            (100, 5_000),
            (5_000, 100),
            (5_000, 5_000),
            (100, 100),
            (3_000, 60_000),
        ] {
            let mut client = udp(&place.fixture.client, side.any(0));
            for _ in 0..3 {
                let reply = request_datagram(&mut client, side.web(), request, reply);
                assert_eq!(reply.seen.ip(), side.client, "{request}");
            }
        }
        // All sizes in turn from one socket.
        let mut client = udp(&place.fixture.client, side.any(0));
        for (request, reply) in [
            (100, 100),
            (5_000, 100),
            (100, 5_000),
            (5_000, 5_000),
            (100, 5_000),
        ] {
            request_datagram(&mut client, side.web(), request, reply);
        }
    }
}

#[test]
fn the_stack_alone_forwards_datagrams_of_all_sizes() {
    all_sizes(Style::Ptp, true, false);
}

#[test]
fn datagrams_of_all_sizes_are_answered_under_a_policy() {
    all_sizes(Style::Ptp, false, true);
}

#[test]
fn datagrams_of_all_sizes_are_answered_under_a_policy_behind_masquerade() {
    all_sizes(Style::Bridge, true, true);
}

/// Like the large answers of a name server.
#[test]
fn small_requests_with_large_replies_never_meet_the_stack() {
    let place = Place::new(Style::Ptp, true);
    let _agent = place.start();
    for side in &place.sides {
        let mut client = udp(&place.fixture.client, side.any(0));
        place.is_fast("replies in fragments", || {
            for _ in 0..5 {
                request_datagram(&mut client, side.web(), 60, 5_000);
            }
        });
    }
}

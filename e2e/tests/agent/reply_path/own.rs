//! Connections that the pod opens work whatever its rules drop: rules are about those that others open.

use std::{io::ErrorKind, net::IpAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use xdp_e2e::Agent;
use xdp_lab::{RawSocket, Style, UdpReceiver, UdpSender, wait_until};

use super::{
    place::{Place, SOON, open, request, udp},
    side::Side,
};
use crate::{
    fixture::{PATIENCE, at},
    frames::{self, on_wire},
};

pub(super) const SOME: usize = 30_000;
pub(super) const PLACES: [(Style, bool); 3] =
    [(Style::Ptp, false), (Style::Ptp, true), (Style::Bridge, false)];
/// A port of the pod that its rules close.
const CLOSED: u16 = 7000;

/// A server, and nothing else: the last rule drops all other packets, one way or the other.
fn only_the_server(web: &str, rest: &str) -> [String; 2] {
    [
        format!("{{name: web, ports: [{{protocol: TCP, port: 80}}], action: {web}}}"),
        format!("{{name: rest, {rest}}}"),
    ]
}

pub(super) fn start<'p>(place: &'p Place, web: &str, rest: &str) -> Agent<'p> {
    let rules = only_the_server(web, rest);
    place
        .fixture
        .policy("server", &rules.each_ref().map(String::as_str));
    place.fixture.enforce(&["server"])
}

/// All kinds of connections that a pod opens, directly and translated.
fn the_pod_opens_connections(place: &Place, side: &Side) {
    for to in [side.outside(), side.cluster_ip()] {
        open(&place.pod.ns, side.any(0), to).echo(SOME).unwrap();
        let mut client = udp(&place.pod.ns, side.any(0));
        for _ in 0..3 {
            request(&mut client, to, 60, 300);
        }
    }
    ping(place, side);
    // An error that the remote host sends.
    let refused = udp(&place.pod.ns, side.any(0));
    let socket = refused.socket();
    socket.connect(at(side.client, 9)).unwrap();
    socket.send(b"is anybody there?").unwrap();
    let error = socket.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{side:?}");
}

fn ip(place: &Place, side: &Side) -> PacketBuilderStep<IpHeaders> {
    let gateway = match place.style {
        Style::Ptp => place.pod.host_interface.as_str(),
        Style::Bridge => "br0",
    };
    let gateway = place.node().interface(gateway).unwrap();
    let ethernet = PacketBuilder::ethernet2(place.pod.mac, gateway.mac);
    match (side.pod, side.client) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        other => panic!("{other:?}"),
    }
}

/// The pod sends an echo request, and waits for the reply.
fn ping(place: &Place, side: &Side) {
    let mut frame = Vec::new();
    let packet = ip(place, side);
    if side.is_v4() {
        packet.icmpv4_echo_request(77, 1).write(&mut frame, b"ping")
    } else {
        packet.icmpv6_echo_request(77, 1).write(&mut frame, b"ping")
    }
    .unwrap();
    let (header, reply) = if side.is_v4() { (34, 0) } else { (54, 129) };
    let inbox = RawSocket::receiver(&place.pod.ns, "eth0").unwrap();
    let out = RawSocket::sender(&place.pod.ns, "eth0").unwrap();
    out.send(&frame).unwrap();
    let is_reply = |seen: &[u8]| seen.get(header) == Some(&reply) && seen.ends_with(b"ping");
    let seen = inbox.receive(PATIENCE, is_reply);
    assert!(seen.is_ok(), "{side:?}: {seen:?}");
}

/// What others send to the pod is dropped as the rule says.
pub(super) fn others_do_not_get_in(place: &Place, side: &Side) {
    let inbox = UdpReceiver::bind(&place.pod.ns, at(side.pod, CLOSED)).unwrap();
    let mut stranger = UdpSender::new(&place.fixture.client, at(side.pod, CLOSED)).unwrap();
    stranger.send(3).unwrap();
    let mut connection = place.connect(side.any(0), side.web());
    connection.echo(SOME).unwrap();
    let arrived = inbox.wait_for(1, SOON);
    assert!(arrived.is_err(), "{side:?}: {arrived:?}");
}

fn works(web: &str, rest: &str) {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let _agent = start(&place, web, rest);
        for side in &place.sides {
            the_pod_opens_connections(&place, side);
            // A limit lets some in.
            if !rest.contains("rateLimit") {
                others_do_not_get_in(&place, side);
            }
        }
    }
}

#[test]
fn the_pod_opens_connections_past_a_drop() {
    works("Pass", "action: Drop");
}

#[test]
fn the_pod_opens_connections_past_a_reject_next_to_a_redirect() {
    works("Redirect", "action: Reject");
}

#[test]
fn the_pod_opens_connections_past_an_exhausted_limit() {
    works(
        "Redirect",
        "action: Pass, rateLimit: {packetsPerSecond: 1, burst: 1}, ports: [{protocol: UDP}, {protocol: ICMP}]",
    );
}

#[test]
fn a_datagram_to_the_port_of_an_own_connection_from_elsewhere_is_dropped() {
    let place = Place::new(Style::Ptp, false);
    let _agent = start(&place, "Pass", "action: Drop");
    for side in &place.sides {
        let mut client = udp(&place.pod.ns, at(side.pod, CLOSED));
        request(&mut client, side.outside(), 60, 60);
        let wire = RawSocket::sender(&place.fixture.client, &place.fixture.nic.wire).unwrap();
        let forged = frames::udp(side.client, side.pod, CLOSED, b"from another port");
        wire.send(&on_wire(&place.fixture.nic, &[], &forged)).unwrap();
        let socket = client.socket();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let arrived = socket.recv(&mut [0; 64]);
        assert!(arrived.is_err(), "{side:?}: {arrived:?}");
    }
}

#[test]
fn a_server_that_answers_opens_no_connection() {
    let place = Place::new(Style::Ptp, false);
    // The first datagrams pass, so that the pod's server answers.
    let rules = [
        "{name: open, ports: [{protocol: UDP, port: 80}], action: Pass}",
        "{name: closed, action: Drop}",
    ];
    place.fixture.policy("server", &rules);
    let agent = place.fixture.enforce(&["server"]);
    let mut clients = place
        .sides
        .map(|side| (side, udp(&place.fixture.client, side.any(0))));
    for (side, client) in &mut clients {
        request(client, side.web(), 60, 60);
    }
    place.fixture.policy("server", &["{name: closed, action: Drop}"]);
    for (side, client) in &mut clients {
        client.socket().set_read_timeout(Some(SOON)).unwrap();
        wait_until("the server's clients are dropped", PATIENCE, || {
            client.request(side.web(), 60, 60).is_err()
        })
        .unwrap();
    }
    assert!(agent.look().packets("closed", "dropped") > 0);
}

#[test]
fn own_connections_outlive_the_agent() {
    for (style, masquerade) in [(Style::Ptp, false), (Style::Bridge, false)] {
        let place = Place::new(style, masquerade);
        let mut agent = start(&place, "Pass", "action: Drop");
        let mut held: Vec<_> = place
            .sides
            .iter()
            .flat_map(|side| [side.outside(), side.cluster_ip()].map(|to| (side, to)))
            .map(|(side, to)| {
                (
                    to,
                    open(&place.pod.ns, side.any(0), to),
                    udp(&place.pod.ns, side.any(0)),
                )
            })
            .collect();
        let mut exercise = || {
            for (to, connection, client) in &mut held {
                connection.echo(SOME).unwrap();
                request(client, *to, 60, 60);
            }
        };
        exercise();
        agent.kill().unwrap();
        exercise();
        agent.start().unwrap();
        agent.wait_for("it runs again", |status| {
            status.running() && status.programmed("server")
        });
        exercise();
        for side in &place.sides {
            the_pod_opens_connections(&place, side);
            others_do_not_get_in(&place, side);
        }
    }
}

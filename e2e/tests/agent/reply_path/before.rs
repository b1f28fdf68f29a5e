//! Connections that are older than the programs.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use xdp_e2e::Agent;
use xdp_lab::{EchoConnection, EchoServer, Namespace, Style};

use super::{
    own::{PLACES, SOME, others_do_not_get_in, start},
    place::{Place, SOON, open, request, udp},
};
use crate::fixture::{Fixture, at};

/// Rules that drop all that others open.
const CLOSED: &str = "{name: closed, action: Drop}";

#[test]
fn what_the_pod_opened_before_the_agent_came_goes_on() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let targets = place.sides.iter().flat_map(|side| {
            let to = [side.outside(), side.cluster_ip()];
            to.map(|to| (side, to))
        });
        let mut held: Vec<_> = targets
            .map(|(side, to)| {
                let connection = open(&place.pod.ns, side.any(0), to);
                let mut client = udp(&place.pod.ns, side.any(0));
                request(&mut client, to, 60, 60);
                (to, connection, client)
            })
            .collect();
        let _agent = start(&place, "Pass", "action: Drop");
        for (to, connection, client) in &mut held {
            let went_on = connection.echo(SOME);
            assert!(went_on.is_ok(), "{style:?}, {masquerade}, {to}: {went_on:?}");
            request(client, *to, 60, 60);
        }
        for side in &place.sides {
            others_do_not_get_in(&place, side);
        }
    }
}

#[test]
fn what_others_opened_before_the_agent_came_is_dropped_as_the_rule_says() {
    let place = Place::new(Style::Ptp, false);
    let mut held: Vec<_> = place
        .sides
        .iter()
        .flat_map(|side| [side.web(), side.node_ports()[0]].map(|to| (side, to)))
        .map(|(side, to)| {
            let opened = EchoConnection::open(&place.fixture.client, side.any(0), to, SOON).unwrap();
            let mut connection = opened.unwrap();
            connection.echo(SOME).unwrap();
            (to, connection)
        })
        .collect();
    place.fixture.policy("server", &[CLOSED]);
    let _agent = place.fixture.enforce(&["server"]);
    for (to, connection) in &mut held {
        // What was translated was addressed to the node, and is the stack's.
        let is_pods = place.sides.iter().any(|side| side.web() == *to);
        assert_eq!(connection.echo(SOME).is_err(), is_pods, "{to}");
    }
}

#[test]
fn a_server_that_sends_to_its_client_of_before_opens_no_connection() {
    let place = Place::new(Style::Ptp, false);
    let socket = |namespace: &Namespace, address: SocketAddr| -> UdpSocket {
        let socket = namespace.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    };
    let pairs = place.sides.map(|side| {
        let server = socket(&place.pod.ns, at(side.pod, 6000));
        let client = socket(&place.fixture.client, at(side.client, 6001));
        client.connect(at(side.pod, 6000)).unwrap();
        client.send(b"before").unwrap();
        server.recv(&mut [0; 16]).unwrap();
        (server, client)
    });
    place.fixture.policy("server", &[CLOSED]);
    let _agent = place.fixture.enforce(&["server"]);
    for (server, client) in &pairs {
        server.send_to(b"more", client.local_addr().unwrap()).unwrap();
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
        client.send(b"an answer").unwrap();
        let arrived = server.recv(&mut [0; 16]);
        assert!(arrived.is_err(), "{arrived:?}");
    }
}

/// Connection tracking takes the pod for the one that opened it, because it sends first.
#[test]
fn a_redirected_connection_that_the_stack_picks_up_in_the_middle_is_not_the_pods() {
    let place = Place::new(Style::Ptp, false);
    let mut agent = place.start();
    let mut held = place.sides.map(|side| {
        let opened = EchoConnection::open(&place.fixture.client, side.any(0), side.web(), SOON).unwrap();
        let mut connection = opened.unwrap();
        connection.echo(SOME).unwrap();
        (side, connection)
    });
    agent.stop().unwrap();
    agent.uninstall().unwrap();
    for (side, connection) in &mut held {
        place.pod_sends(connection, side.client, SOME);
    }
    place.fixture.manifests.remove("policy-all.yaml").unwrap();
    place.fixture.policy("server", &[CLOSED]);
    let _agent = place.fixture.enforce(&["server"]);
    for (side, connection) in &mut held {
        let went_on = connection.echo(SOME);
        assert!(went_on.is_err(), "{side:?}");
    }
}

#[test]
fn where_nothing_tracks_connections_the_pods_sockets_tell_who_opened_them() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let families = [
        (pod.v4(), fixture.nic.client_v4, IpAddr::from([0; 4])),
        (pod.v6(), fixture.nic.client_v6, IpAddr::from([0; 16])),
    ];
    let mut held: Vec<_> = families
        .into_iter()
        .map(|(inside, outside, any)| {
            let (inside, outside) = (at(inside, 80), at(outside, 5353));
            let servers = [(&pod.ns, inside), (&fixture.client, outside)]
                .map(|(namespace, address)| EchoServer::start(namespace, address).unwrap());
            let own = open(&pod.ns, at(any, 0), outside);
            let accepted = EchoConnection::open(&fixture.client, at(any, 0), inside, SOON).unwrap();
            (servers, own, accepted.unwrap())
        })
        .collect();
    fixture.policy("server", &[CLOSED]);
    let agent = fixture.enforce(&["server"]);
    for (servers, own, accepted) in &mut held {
        let went_on = [own.echo(SOME).is_ok(), accepted.echo(SOME).is_ok()];
        assert_eq!(went_on, [true, false], "{:?}", own.local());
        explain_tells(&agent, own.local().unwrap(), servers[1].address());
    }
}

/// `explain` says that a rule drops such packets, and that those of this connection pass.
#[track_caller]
fn explain_tells(agent: &Agent<'_>, pod: SocketAddr, remote: SocketAddr) {
    for (port, is_own) in [(pod.port(), true), (pod.port() ^ 1, false)] {
        let (from, to) = (remote.ip(), pod.ip());
        let sport = remote.port();
        let line =
            format!("explain --from {from} --source-port {sport} --to {to} --protocol TCP --port {port}");
        let finished = agent.call(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let said = finished.stdout.contains("the pod opened a connection");
        assert_eq!(said, is_own, "{line}: {finished:?}");
        assert!(finished.stdout.contains("is dropped"), "{finished:?}");
    }
}

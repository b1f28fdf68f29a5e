//! How connections begin and end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use nix::sys::socket::{setsockopt, sockopt};
use xdp_lab::{EchoConnection, Ending, Style, wait_until};

use super::{
    place::{Place, udp},
    side::WEB,
};
use crate::{
    fixture::{PATIENCE, at},
    frames::pings,
};

/// Both styles, one of them with masquerade.
const PLACES: [(Style, bool); 2] = [(Style::Ptp, true), (Style::Bridge, false)];

fn under_a_policy(test: impl Fn(&Place)) {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let _agent = place.start();
        test(&place);
    }
}

#[test]
fn closed_ports_refuse() {
    under_a_policy(|place| {
        for side in &place.sides {
            place.is_fast("refused", || {
                let to = at(side.pod, WEB + 1);
                let refused = EchoConnection::open(&place.fixture.client, side.any(0), to, PATIENCE).unwrap();
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused, "{to}");
                let client = udp(&place.fixture.client, side.any(0));
                client.socket().connect(to).unwrap();
                client.socket().send(b"hello").unwrap();
                let refused = client.socket().recv(&mut [0; 16]).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{to}");
            });
        }
    });
}

#[test]
fn pings_are_answered() {
    under_a_policy(|place| {
        place.is_fast("pings", || {
            for (number, is_v6) in [(1, false), (2, true), (3, false), (4, true)] {
                assert!(
                    pings(&place.fixture, &place.pod, is_v6, number, PATIENCE),
                    "{number}"
                );
            }
        });
    });
}

#[test]
fn either_side_closes_a_connection_first_and_the_other_may_still_send() {
    under_a_policy(|place| {
        for (side, web) in place.sides.iter().zip(&place.web) {
            place.is_fast("closed by either side", || {
                let mut client_first = place.connect(side.any(0), side.web());
                client_first.echo(10_000).unwrap();
                assert_eq!(client_first.finish().unwrap(), b"bye");
                let mut server_first = place.connect(side.any(0), side.web());
                web.finish(server_first.local().unwrap()).unwrap();
                assert_eq!(server_first.read_to_end().unwrap(), b"");
                assert_eq!(server_first.finish().unwrap(), b"");
                wait_until("both have ended", PATIENCE, || web.endings().len() == 2).unwrap();
                assert_eq!(web.endings(), [Ending::Closed; 2]);
            });
        }
    });
}

#[test]
fn either_side_resets_a_connection() {
    under_a_policy(|place| {
        for (side, web) in place.sides.iter().zip(&place.web) {
            place.is_fast("reset by either side", || {
                let mut connection = place.connect(side.any(0), side.web());
                connection.echo(10_000).unwrap();
                connection.reset().unwrap();
                wait_until("the server gets the reset", PATIENCE, || {
                    !web.endings().is_empty()
                })
                .unwrap();
                assert_eq!(web.endings(), [Ending::Reset]);
                let to = at(side.pod, WEB + 2);
                let listener = place.pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
                let server = thread::spawn(move || resets(&listener));
                let connect = || TcpStream::connect_timeout(&to, PATIENCE);
                let mut stream = place.fixture.client.run(connect).unwrap().unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(b"hello").unwrap();
                let error = stream.read(&mut [0; 16]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                server.join().unwrap();
            });
        }
    });
}

fn resets(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &at_once).unwrap();
}

#[test]
fn ten_thousand_short_connections_are_all_answered() {
    const CONNECTIONS: usize = 10_000;
    let place = Place::new(Style::Ptp, true);
    let _agent = place.start();
    let side = place.sides[0];
    let to = at(side.pod, WEB + 3);
    let listener = place.pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let server = thread::spawn(move || {
        let served = (0..CONNECTIONS).map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
            u64::from(u32::from_be_bytes(bytes))
        });
        served.sum::<u64>()
    });
    place.is_fast("ten thousand", || {
        let connect_all = || {
            (0..CONNECTIONS as u32)
                .map(|number| short(to, number))
                .sum::<u64>()
        };
        let answered = place.fixture.client.run(connect_all).unwrap();
        let all = (CONNECTIONS * (CONNECTIONS - 1) / 2) as u64;
        assert_eq!((answered, server.join().unwrap()), (all, all));
    });
    assert_eq!(place.node().tracked_of(side.pod, WEB + 3).unwrap(), 0);
}

fn short(to: SocketAddr, number: u32) -> u64 {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&number.to_be_bytes()).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    u64::from(u32::from_be_bytes(answer))
}

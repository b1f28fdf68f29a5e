//! Echo servers, and the node's counters about their flows.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
};

use xdp_lab::{EchoConnection, EchoServer, Ending, Nic, UdpClient, wait_until};

use crate::fixture::{SOON, fixture};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn connect(nic: &Nic, server: &EchoServer) -> EchoConnection {
    let connection = EchoConnection::open(&nic.client, ANY, server.address(), SOON).unwrap();
    connection.unwrap()
}

#[test]
fn a_connection_is_closed_or_reset_by_either_side() {
    let fixture = fixture();
    let nic = &fixture.nics[0];
    let server = EchoServer::start(&fixture.ptp.ns, SocketAddr::new(fixture.ptp.v4(), 80)).unwrap();
    let mut closed = connect(nic, &server);
    let local = closed.local().unwrap();
    assert_eq!(closed.seen(), local);
    closed.echo(100_000).unwrap();
    server.push(local, 1_000).unwrap();
    closed.receive(1_000).unwrap();
    assert_eq!(closed.finish().unwrap(), b"bye");
    let mut finished = connect(nic, &server);
    server.finish(finished.local().unwrap()).unwrap();
    assert_eq!(finished.read_to_end().unwrap(), b"");
    finished.finish().unwrap();
    let two = || server.endings().len() == 2;
    wait_until("both have ended", SOON, two).unwrap();
    connect(nic, &server).reset().unwrap();
    let three = || server.endings().len() == 3;
    wait_until("the third was reset", SOON, three).unwrap();
    assert_eq!(server.endings(), [Ending::Closed, Ending::Closed, Ending::Reset]);
}

#[test]
fn replies_have_the_requested_length() {
    let fixture = fixture();
    let server = EchoServer::start(&fixture.bridge.ns, SocketAddr::new(fixture.bridge.v4(), 80)).unwrap();
    let mut client = UdpClient::bind(&fixture.nics[1].client, ANY, SOON).unwrap();
    for (request, reply) in [(8, 48), (5_000, 100), (100, 5_000)] {
        let answer = client.request(server.address(), request, reply).unwrap();
        assert_eq!((answer.from, answer.length), (server.address(), reply));
        assert_eq!(answer.seen.ip(), fixture.nics[1].client_v4);
    }
}

#[test]
fn the_node_counts_what_it_forwards_and_tracks() {
    let fixture = fixture();
    let node = fixture.lab.node();
    let mut rule = Command::new("iptables");
    rule.args([
        "-w",
        "-A",
        "FORWARD",
        "-m",
        "conntrack",
        "--ctstate",
        "INVALID",
        "-j",
        "DROP",
    ]);
    assert!(node.spawn(rule).unwrap().wait(SOON).unwrap().success());
    let server = EchoServer::start(&fixture.ptp.ns, SocketAddr::new(fixture.ptp.v4(), 80)).unwrap();
    let before = node.forwarded().unwrap();
    let connection = connect(&fixture.nics[0], &server);
    assert!(node.forwarded().unwrap() >= before + 4);
    let local = connection.local().unwrap();
    assert_eq!(node.tracked_of(local.ip(), local.port()).unwrap(), 1);
    assert_eq!(node.tracked_of(fixture.ptp.v4(), 80).unwrap(), 1);
    assert_eq!(node.tracked_of(local.ip(), 1).unwrap(), 0);
}

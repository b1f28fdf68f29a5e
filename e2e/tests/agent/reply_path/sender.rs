//! Pods that send with the address of another pod, which the node's stack would not let through.

use std::net::IpAddr;

use xdp_lab::{LabPod, RawSocket, Style, UdpReceiver};

use super::{
    place::{Place, SOON, udp},
    rules::run,
    side::{Side, WEB},
};
use crate::{
    fixture::{at, spec},
    frames::{self, on_wire},
};

const SOME: usize = 30_000;
const SYN: u8 = 2;
const CLIENT_PORT: u16 = 4000;

/// A frame that a pod sends to its gateway.
fn frame(place: &Place, pod: &LabPod, packet: &[u8]) -> Vec<u8> {
    let gateway = place.node().interface(&pod.host_interface).unwrap();
    let ethertype: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&gateway.mac[..], &pod.mac, &ethertype, packet].concat()
}

/// A TCP segment without payload.
fn segment(from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Vec<u8> {
    let mut step = frames::ip(from.0, to.0).tcp(from.1, to.1, 1, 1000);
    if flags == SYN {
        step = step.syn();
    } else {
        step = step.ack(1);
    }
    let mut packet = Vec::new();
    step.write(&mut packet, b"").unwrap();
    packet
}

/// A datagram from the pod's server.
fn datagram(side: &Side, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let step = frames::ip(side.pod, side.client).udp(WEB, CLIENT_PORT);
    step.write(&mut packet, payload).unwrap();
    packet
}

#[test]
fn what_a_pod_sends_as_another_neither_leaves_past_the_stack_nor_ends_its_flows() {
    let place = Place::new(Style::Ptp, true);
    let attacker = place.fixture.pod("attacker", "game", Style::Ptp, 6);
    let filter = format!("net/ipv4/conf/{}/rp_filter", attacker.host_interface);
    place.node().set_sysctl(&filter, "1").unwrap();
    place.take_all();
    let agent = place.fixture.start(&["server", "attacker"]);
    let out = RawSocket::sender(&attacker.ns, "eth0").unwrap();
    for side in &place.sides {
        let mut connection = place.connect(side.any(0), side.web());
        connection.echo(SOME).unwrap();
        let mut client = udp(&place.fixture.client, at(side.client, CLIENT_PORT));
        super::place::request(&mut client, side.web(), 60, 60);
        let wire = RawSocket::receiver(&place.fixture.client, &place.fixture.nic.wire).unwrap();
        let local = connection.local().unwrap();
        let [from, to] = [(side.pod, WEB), (side.client, local.port())];
        out.send(&frame(&place, &attacker, &datagram(side, b"forged")))
            .unwrap();
        for flags in [0, SYN] {
            out.send(&frame(&place, &attacker, &segment(from, to, flags)))
                .unwrap();
        }
        let spoofed = if side.is_v4() { 3 } else { 6 };
        agent.wait_for("the forged packets are counted", |status| {
            status.happened("flowEvents", "ReplySpoofed") == spoofed
        });
        // The stack has no filter of this kind for IPv6.
        if side.is_v4() {
            let left = wire.receive(SOON, |seen| seen.ends_with(b"forged"));
            assert!(left.is_err(), "{side:?}: {left:?}");
        }
        place.is_fast_except_late_packets("the pod's own flows", || {
            connection.echo(SOME).unwrap();
            super::place::request(&mut client, side.web(), 60, 60);
        });
    }
}

/// An accomplice outside sends with the other pod's address: the answer would go to that pod.
#[test]
fn a_pod_does_not_reach_a_neighbour_that_the_stack_keeps_from_it() {
    let place = Place::new(Style::Ptp, false);
    let attacker = &place.pod;
    let neighbour = place.fixture.lab.pod(&spec("neighbour", Style::Ptp, 7)).unwrap();
    for program in ["iptables", "ip6tables"] {
        run(place.node(), &[program, "-P", "FORWARD", "DROP"], "");
    }
    place.take_all();
    let _agent = place.fixture.start(&["server"]);
    let wire = RawSocket::sender(&place.fixture.client, &place.fixture.nic.wire).unwrap();
    for (own, other) in [(attacker.v4(), neighbour.v4()), (attacker.v6(), neighbour.v6())] {
        let inbox = UdpReceiver::bind(&neighbour.ns, at(other, CLIENT_PORT)).unwrap();
        let opens = frames::udp(other, own, 7000, b"opens a flow");
        wire.send(&on_wire(&place.fixture.nic, &[], &opens)).unwrap();
        let socket = udp(&attacker.ns, at(own, 7000));
        socket
            .socket()
            .send_to(b"past the stack", at(other, CLIENT_PORT))
            .unwrap();
        let arrived = inbox.wait_for(1, SOON);
        assert!(arrived.is_err(), "{other}: {arrived:?}");
    }
}

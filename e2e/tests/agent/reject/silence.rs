//! Packets that are never answered, to avoid loops of answers and answers to spoofed sources.

use std::net::IpAddr;

use xdp_lab::RawSocket;

use super::fixture;
use crate::{
    fixture::{Fixture, PATIENCE, expect_only},
    frames::{Answer, icmp, ip, on_wire, udp},
};

const ALL: &str = "{name: all, action: Reject}";

fn reset(from: IpAddr, to: IpAddr, with_ack: bool) -> Vec<u8> {
    let step = ip(from, to).tcp(4000, 80, 1, 1000).rst();
    let step = if with_ack { step.ack(1) } else { step };
    let mut packet = Vec::new();
    step.write(&mut packet, b"").unwrap();
    packet
}

/// A UDP packet whose flags and fragment offset are these.
fn fragment(from: IpAddr, to: IpAddr, field: u16) -> Vec<u8> {
    let mut packet = udp(from, to, 80, b"a part of something");
    match from {
        IpAddr::V4(_) => {
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            // The program does not check the checksum.
            packet[10..12].fill(0);
        }
        IpAddr::V6(_) => {
            let [o0, o1] = ((field << 3) | ((field >> 13) & 1)).to_be_bytes();
            packet[5] += 8;
            packet[6] = 44;
            packet.splice(40..40, [17, 0, o0, o1, 0, 0, 0, 9]);
        }
    }
    packet
}

const MORE: u16 = 0x2000;

/// Frames of the client that must not be answered.
fn frames(fixture: &Fixture, from: IpAddr, to: IpAddr) -> Vec<(String, Vec<u8>)> {
    let nic = &fixture.nic;
    let mut frames = Vec::new();
    let mut add = |what: &str, packet: Vec<u8>| frames.push((what.to_owned(), on_wire(nic, &[], &packet)));
    add("a reset", reset(from, to, false));
    add("a reset that acknowledges", reset(from, to, true));
    add("a first fragment", fragment(from, to, MORE));
    add("a middle fragment", fragment(from, to, MORE | 3));
    add("a last fragment", fragment(from, to, 6));
    let (errors, sources): (&[u8], &[&str]) = match from {
        IpAddr::V4(_) => (
            &[3, 4, 5, 11, 12],
            &[
                "0.0.0.0",
                "127.0.0.1",
                "224.0.0.1",
                "239.1.2.3",
                "255.255.255.255",
            ],
        ),
        IpAddr::V6(_) => (&[1, 3, 4, 100], &["::", "::1", "ff02::1", "ff0e::7"]),
    };
    for kind in errors {
        add(&format!("an ICMP error of type {kind}"), icmp(from, to, *kind, 0));
    }
    for source in sources {
        add(
            &format!("a datagram from {source}"),
            udp(source.parse().unwrap(), to, 80, b"x"),
        );
    }
    for group in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
        let mut frame = on_wire(nic, &[], &udp(from, to, 80, b"x"));
        frame[..6].copy_from_slice(&group);
        frames.push((format!("a datagram to {group:02x?}"), frame));
    }
    frames
}

#[test]
fn resets_icmp_errors_fragments_and_groups_get_no_answer_and_are_counted() {
    let (fixture, pod) = fixture(&[ALL]);
    let agent = fixture.enforce(&["server"]);
    let nic = &fixture.nic;
    let out = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    let mut silent = 0;
    for (from, to) in [(nic.client_v4, pod.v4()), (nic.client_v6, pod.v6())] {
        for (what, frame) in frames(&fixture, from, to) {
            // Answers keep their order: after the answer to the second frame, none to the first follows.
            let wire = RawSocket::receiver(&fixture.client, &nic.wire).unwrap();
            out.send(&frame).unwrap();
            out.send(&on_wire(nic, &[], &udp(from, to, 81, b"the end")))
                .unwrap();
            let read = |frame: &[u8]| Answer::read(nic, to, frame);
            let first = wire.receive(PATIENCE, |frame| read(frame).is_some()).unwrap();
            let answer = read(&first).unwrap();
            let quoted_port = if from.is_ipv4() { 8 + 20 + 2 } else { 8 + 40 + 2 };
            assert_eq!(
                answer.at::<2>(quoted_port),
                [0, 81],
                "{what} was answered: {answer:02x?}"
            );
            silent += 1;
            let status = expect_only(&agent, "all", &[("rejected", 2 * silent)]);
            assert_eq!(status.happened("events", "RejectSilent"), silent, "{what}");
        }
    }
    println!("{silent} frames without an answer");
}

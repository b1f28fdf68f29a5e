//! The answers to rejected packets, byte by byte: addresses, quoted packet, checksums and VLAN.

use std::net::IpAddr;

use xdp_lab::{LabPod, RawSocket};

use super::fixture;
use crate::{
    fixture::{Fixture, PATIENCE, expect_only},
    frames::{Answer, any, icmp, ip, on_wire, udp},
};

const ALL: &str = "{name: all, action: Reject}";
const TAGS: [&[u16]; 3] = [&[], &[0], &[0, 0]];
const SEQUENCE: u32 = u32::MAX - 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A client of one family, with raw sockets.
struct Client<'a> {
    fixture: &'a Fixture,
    addresses: (IpAddr, IpAddr),
    out: RawSocket,
    wire: RawSocket,
}

impl<'a> Client<'a> {
    /// Returns a client of each family.
    fn both(fixture: &'a Fixture, pod: &LabPod) -> [Self; 2] {
        let nic = &fixture.nic;
        [(nic.client_v4, pod.v4()), (nic.client_v6, pod.v6())].map(|addresses| Self {
            fixture,
            addresses,
            out: RawSocket::sender(&fixture.client, &nic.wire).unwrap(),
            wire: RawSocket::receiver(&fixture.client, &nic.wire).unwrap(),
        })
    }

    /// Sends a packet in this VLAN, and returns the answer after the checks that all answers share.
    fn request(&self, tags: &[u16], packet: &[u8]) -> Answer {
        let nic = &self.fixture.nic;
        let (client, pod) = self.addresses;
        self.out.send(&on_wire(nic, tags, packet)).unwrap();
        let read = |frame: &[u8]| Answer::read(nic, pod, frame);
        let frame = self
            .wire
            .receive(PATIENCE, |frame| read(frame).is_some())
            .unwrap();
        let answer = read(&frame).unwrap();
        assert_eq!((answer.to, answer.tags.as_slice()), (client, tags));
        answer
    }
}

/// A TCP segment.
fn segment((from, to): (IpAddr, IpAddr), flags: u8, acknowledged: u32, data: &[u8]) -> Vec<u8> {
    let mut step = ip(from, to).tcp(4000, 80, SEQUENCE, 1000);
    if flags & SYN != 0 {
        step = step.syn();
    }
    if flags & ACK != 0 {
        step = step.ack(acknowledged);
    }
    let mut packet = Vec::new();
    step.write(&mut packet, data).unwrap();
    packet
}

/// RFC 9293, 3.10.7.1: the sequence number is what the segment acknowledges, or the segment is acknowledged.
#[track_caller]
fn is_reset(answer: &Answer, flags: u8, sequence: u32, acknowledged: u32) {
    assert_eq!((answer.protocol, answer.upper.len()), (6, 20));
    assert_eq!(
        answer.at::<4>(0),
        [0, 80, 4000_u16.to_be_bytes()[0], 4000_u16.to_be_bytes()[1]]
    );
    assert_eq!(u32::from_be_bytes(answer.at(4)), sequence);
    assert_eq!(u32::from_be_bytes(answer.at(8)), acknowledged);
    assert_eq!(answer.at::<2>(12), [5 << 4, flags]);
}

#[test]
fn a_segment_is_answered_by_the_matching_reset() {
    let (fixture, pod) = fixture(&[ALL]);
    let agent = fixture.enforce(&["server"]);
    let mut requests = 0;
    for client in Client::both(&fixture, &pod) {
        for tags in TAGS {
            let syn = client.request(tags, &segment(client.addresses, SYN, 0, b""));
            is_reset(&syn, RST | ACK, 0, SEQUENCE.wrapping_add(1));
            let opening = client.request(tags, &segment(client.addresses, SYN, 0, b"fast open"));
            is_reset(&opening, RST | ACK, 0, SEQUENCE.wrapping_add(10));
            let data = client.request(tags, &segment(client.addresses, ACK, 0x0102_0304, b"hello"));
            is_reset(&data, RST, 0x0102_0304, 0);
            requests += 3;
        }
    }
    expect_only(&agent, "all", &[("rejected", requests)]);
}

/// RFC 1812, 5.2.7.1 and RFC 4443, 3.1.
#[test]
fn other_packets_are_answered_by_administratively_prohibited_with_the_packet_quoted() {
    /// Longer than the quoted part.
    const SCTP: [u8; 20] = [15, 160, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 8, 0, 0, 0, 0];
    let (fixture, pod) = fixture(&[ALL]);
    let agent = fixture.enforce(&["server"]);
    let mut requests = 0;
    for client in Client::both(&fixture, &pod) {
        let (from, to) = client.addresses;
        let (protocol, unreachable, header, echo) = match from {
            IpAddr::V4(_) => (1, [3, 13], 20, 8),
            IpAddr::V6(_) => (58, [1, 1], 40, 128),
        };
        let packets = [
            udp(from, to, 80, b"an odd payload"),
            udp(from, to, 80, b""),
            any(from, to, 132, &SCTP),
            any(from, to, 47, &[0; 8]),
            icmp(from, to, echo, 0),
        ];
        for tags in TAGS {
            for packet in &packets {
                let answer = client.request(tags, packet);
                assert_eq!(answer.protocol, protocol);
                assert_eq!(
                    answer.at::<8>(0),
                    [
                        unreachable[0],
                        unreachable[1],
                        answer.upper[2],
                        answer.upper[3],
                        0,
                        0,
                        0,
                        0
                    ]
                );
                assert_eq!(answer.upper[8..], packet[..header + 8], "the offending headers");
                requests += 1;
            }
        }
    }
    expect_only(&agent, "all", &[("rejected", requests)]);
}

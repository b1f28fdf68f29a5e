//! Answers to rejected packets, taken apart by a parser that is not ours.

use std::time::Instant;

use etherparse::{Icmpv4Type, NetSlice, SlicedPacket, TransportSlice, icmpv4};
use xdp_agent::datapath::{Datapath, Settings};
use xdp_core::events::Event;

use crate::{
    bpffs::Bpffs,
    judge::{XDP_DROP, XDP_TX},
    node::{desired, pod, policy, program, udp},
};

const SENDER: [u8; 4] = [192, 0, 2, 1];
const POD: [u8; 4] = [10, 0, 0, 5];

fn rejecting(bpffs: &Bpffs, rejects_per_second: u32) -> Datapath {
    let settings = Settings {
        rejects_per_second,
        ..Settings::default()
    };
    let mut datapath = Datapath::open_with(&bpffs.pin_dir(), settings).unwrap();
    let rules = policy("refuse", "a", &["{name: all, action: Reject}"]);
    let objects = [pod("a", &["10.0.0.5"]), rules].concat();
    program(&mut datapath, &desired(&objects));
    datapath
}

/// A SYN to port 80.
fn syn() -> Vec<u8> {
    let payload = [
        0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    let mut frame = udp(SENDER, POD)[..34].to_vec();
    frame[17] = 40;
    frame[23] = 6;
    frame.extend(payload);
    frame
}

#[test]
fn a_connection_is_reset_and_a_datagram_prohibited() {
    let bpffs = Bpffs::new();
    let datapath = rejecting(&bpffs, 1000);
    let ran = datapath.test_run(&syn()).unwrap();
    assert_eq!(ran.action, XDP_TX);
    let answer = SlicedPacket::from_ethernet(&ran.packet).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (&answer.net, &answer.transport) else {
        panic!("{answer:?}");
    };
    assert_eq!((ip.header().source(), ip.header().destination()), (POD, SENDER));
    assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40000));
    assert!(tcp.rst() && tcp.ack());
    assert_eq!(tcp.acknowledgment_number(), 8);
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    let sum = tcp
        .to_header()
        .calc_checksum_ipv4_raw(POD, SENDER, tcp.payload())
        .unwrap();
    assert_eq!(tcp.checksum(), sum);

    let frame = udp(SENDER, POD);
    let ran = datapath.test_run(&frame).unwrap();
    assert_eq!(ran.action, XDP_TX);
    let answer = SlicedPacket::from_ethernet(&ran.packet).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = &answer.transport else {
        panic!("{answer:?}");
    };
    let prohibited = icmpv4::DestUnreachableHeader::FilterProhibited;
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(prohibited));
    assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
    assert_eq!(&icmp.payload()[..28], &frame[14..42]);
    // Sent back to the sender.
    assert_eq!(
        (&ran.packet[..6], &ran.packet[6..12]),
        (&frame[6..12], &frame[..6])
    );
}

#[test]
fn what_exceeds_the_nodes_rate_of_answers_is_dropped_without_one_and_counted() {
    let bpffs = Bpffs::new();
    let datapath = rejecting(&bpffs, 10);
    let started = Instant::now();
    let actions: Vec<u32> = (0..100)
        .map(|_| datapath.test_run(&udp(SENDER, POD)).unwrap().action)
        .collect();
    let took = started.elapsed().as_secs_f64();
    let answered = actions.iter().filter(|action| **action == XDP_TX).count() as u64;
    let dropped = actions.iter().filter(|action| **action == XDP_DROP).count() as u64;
    // A burst of a second's worth, and what came in while the test ran.
    let most = 11 + (10.0 * took).ceil() as u64;
    assert!((10..=most).contains(&answered), "{answered}, {most} at most");
    assert_eq!(answered + dropped, 100);
    let events = datapath.pinned().events().unwrap();
    assert_eq!(events[&Event::RejectLimited.code()].packets, dropped);
    let counters = datapath.pinned().rule_counters(0).unwrap();
    assert_eq!(counters.rejected.packets, 100);

    let silent = Bpffs::new();
    let datapath = rejecting(&silent, 0);
    assert_eq!(datapath.test_run(&syn()).unwrap().action, XDP_DROP);
}

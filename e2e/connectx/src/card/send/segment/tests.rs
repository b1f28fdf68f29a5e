use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::card::{
    checksum::{FILL_NETWORK, FILL_TRANSPORT, fill},
    fixture::Content,
    parse::parse,
};

/// A segment as another library reads it.
#[derive(Debug)]
struct Seen {
    identification: u16,
    sequence: u32,
    flags: (bool, bool, bool),
    payload: Vec<u8>,
}

fn read(frame: &[u8]) -> Seen {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        panic!("no TCP in {frame:?}")
    };
    let (identification, checksum) = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(
                ip.header().header_checksum(),
                ip.header().to_header().calc_header_checksum()
            );
            (
                ip.header().identification(),
                tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()),
            )
        }
        NetSlice::Ipv6(ip) => (
            0,
            tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()),
        ),
        NetSlice::Arp(arp) => panic!("{arp:?}"),
    };
    assert_eq!(tcp.checksum(), checksum.unwrap());
    Seen {
        identification,
        sequence: tcp.sequence_number(),
        flags: (tcp.cwr(), tcp.fin(), tcp.psh()),
        payload: tcp.payload().to_vec(),
    }
}

proptest! {
    #[test]
    fn segments_join_to_the_payload(
        vlan in prop::option::of(1_u16..4095),
        six: bool,
        payload in prop::collection::vec(any::<u8>(), 1..20_000),
        size in 200_usize..9000,
    ) {
        let content = Content { vlan, version: if six { 6 } else { 4 }, tcp: true, payload };
        let frame = content.frame();
        let head = frame.len() - content.payload.len();
        let segments = segment(&frame, &parse(&frame), size).unwrap();
        prop_assert_eq!(segments.len(), content.payload.len().div_ceil(size));
        let whole = read(&frame);
        let mut joined = Vec::new();
        for (index, mut segment) in segments.clone().into_iter().enumerate() {
            let headers = parse(&segment);
            fill(&mut segment, &headers, FILL_NETWORK | FILL_TRANSPORT);
            let seen = read(&segment);
            let last = index + 1 == segments.len();
            prop_assert_eq!(seen.sequence, whole.sequence.wrapping_add(joined.len() as u32));
            prop_assert_eq!(seen.flags, (index == 0, last, last));
            prop_assert_eq!(seen.payload.len(), segment.len() - head);
            prop_assert!(seen.payload.len() <= size);
            if !six {
                prop_assert_eq!(seen.identification, whole.identification.wrapping_add(index as u16));
            }
            prop_assert_eq!(&segment[..14], &frame[..14]);
            joined.extend(seen.payload);
        }
        prop_assert_eq!(joined, content.payload);
    }
}

#[test]
fn a_length_field_of_0_stands_for_the_whole_frame() {
    let content = Content {
        version: 6,
        tcp: true,
        payload: vec![7; 70_000],
        ..Content::default()
    };
    let mut frame = Content {
        payload: vec![],
        ..content.clone()
    }
    .frame();
    frame.extend_from_slice(&content.payload);
    frame[18..20].fill(0);
    let segments = segment(&frame, &parse(&frame), 1400).unwrap();
    assert_eq!(segments.len(), 50);
    assert_eq!(word(&segments[0], 18), 1420);
}

#[test]
fn udp_datagrams_get_lengths_of_their_own() {
    let frame = Content {
        payload: vec![1; 250],
        ..Content::default()
    }
    .frame();
    let segments = segment(&frame, &parse(&frame), 100).unwrap();
    let lengths: Vec<_> = segments
        .iter()
        .map(|segment| (segment.len() - 42, word(segment, 38)))
        .collect();
    assert_eq!(lengths, [(100, 108), (100, 108), (50, 58)]);
}

#[test]
fn only_tcp_and_udp_are_segmented() {
    let mut frame = Content::default().frame();
    frame[23] = 1;
    assert_eq!(segment(&frame, &parse(&frame), 100), None);
    let frame = Content::default().frame();
    assert_eq!(segment(&frame, &parse(&frame), 0), None);
}

use proptest::prelude::*;

use super::*;
use crate::card::{fixture::Content, parse::parse};

fn contents() -> impl Strategy<Value = Content> {
    (
        prop::option::of(1_u16..4095),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 0..1500),
    )
        .prop_map(|(vlan, six, tcp, payload)| Content {
            vlan,
            version: if six { 6 } else { 4 },
            tcp,
            payload,
        })
}

proptest! {
    #[test]
    fn checksums_of_etherparse_are_right(content in contents()) {
        let frame = content.frame();
        let verdict = verify(&frame, &parse(&frame));
        prop_assert_eq!(verdict, Verdict { network: Some(true), transport: Some(true) });
    }

    #[test]
    fn padding_does_not_change_the_verdict(content in contents(), padding in 0_usize..64) {
        let mut frame = content.frame();
        frame.extend(vec![0xa5; padding]);
        let verdict = verify(&frame, &parse(&frame));
        prop_assert_eq!(verdict, Verdict { network: Some(true), transport: Some(true) });
    }

    #[test]
    fn filled_checksums_are_those_of_etherparse(content in contents(), stale: u16) {
        let expected = content.frame();
        let mut frame = expected.clone();
        let headers = parse(&frame);
        let (network, transport) = (headers.network.unwrap(), headers.transport.unwrap());
        if network.version == 4 {
            frame[network.start + 10..network.start + 12].copy_from_slice(&stale.to_be_bytes());
        }
        let at = transport.start + if content.tcp { 16 } else { 6 };
        frame[at..at + 2].copy_from_slice(&stale.to_be_bytes());
        fill(&mut frame, &headers, FILL_NETWORK | FILL_TRANSPORT);
        prop_assert_eq!(frame, expected);
    }

    #[test]
    fn a_changed_bit_of_the_payload_is_noticed(
        mut content in contents(),
        bit in 0_u8..8,
        at: prop::sample::Index,
    ) {
        content.payload.push(0);
        let mut frame = content.frame();
        let headers = parse(&frame);
        let start = headers.transport.unwrap().payload;
        let position = start + at.index(content.payload.len());
        frame[position] ^= 1 << bit;
        prop_assert_eq!(verify(&frame, &headers), Verdict { network: Some(true), transport: Some(false) });
    }
}

#[test]
fn a_changed_ipv4_header_is_noticed() {
    let mut frame = Content::default().frame();
    frame[22] ^= 1;
    let verdict = verify(&frame, &parse(&frame));
    assert_eq!(
        verdict,
        Verdict {
            network: Some(false),
            transport: Some(true)
        }
    );
}

#[test]
fn udp_over_ipv4_may_have_no_checksum() {
    let mut frame = Content::default().frame();
    frame[40..42].fill(0);
    assert_eq!(verify(&frame, &parse(&frame)).transport, Some(true));
}

#[test]
fn udp_over_ipv6_must_have_a_checksum() {
    let mut frame = Content {
        version: 6,
        ..Content::default()
    }
    .frame();
    frame[60..62].fill(0);
    assert_eq!(verify(&frame, &parse(&frame)).transport, Some(false));
}

#[test]
fn only_the_checksums_that_are_asked_for_are_filled_in() {
    let expected = Content::default().frame();
    let headers = parse(&expected);
    let mut frame = expected.clone();
    (frame[24], frame[40]) = (!expected[24], !expected[40]);
    let stale = frame.clone();
    fill(&mut frame, &headers, FILL_NETWORK);
    assert_eq!((frame[24], frame[40]), (expected[24], stale[40]));
    fill(&mut frame, &headers, FILL_TRANSPORT);
    assert_eq!(frame, expected);
}

#[test]
fn a_udp_checksum_of_0_is_sent_as_its_complement() {
    let without = Content {
        payload: vec![0, 0],
        ..Content::default()
    }
    .frame();
    // A payload that is the checksum of the rest makes the sum 0xffff.
    let mut frame = Content {
        payload: without[40..42].to_vec(),
        ..Content::default()
    }
    .frame();
    frame[40..42].fill(0);
    let headers = parse(&frame);
    fill(&mut frame, &headers, FILL_TRANSPORT);
    assert_eq!(frame[40..42], [0xff, 0xff]);
}

use proptest::prelude::*;

use super::*;
use crate::card::{
    bits::Field,
    fixture::{Content, MAC, PEER},
};

fn field(headers: &Headers, field: Field) -> u64 {
    field.get(&headers.fields)
}

fn address(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[test]
fn fields_of_an_ipv4_frame_are_those_that_it_has() {
    let frame = Content {
        tcp: true,
        ..Content::default()
    }
    .frame();
    let headers = parse(&frame);
    let expected = [
        (layout::fte_match_set_lyr_2_4::DMAC_47_16, address(&MAC) >> 16),
        (layout::fte_match_set_lyr_2_4::SMAC_15_0, address(&PEER) & 0xffff),
        (layout::fte_match_set_lyr_2_4::ETHERTYPE, 0x0800),
        (layout::fte_match_set_lyr_2_4::IP_VERSION, 4),
        (layout::fte_match_set_lyr_2_4::IP_PROTOCOL, 6),
        (layout::fte_match_set_lyr_2_4::TTL_HOPLIMIT, 64),
        (layout::fte_match_set_lyr_2_4::TCP_SPORT, 5000),
        (layout::fte_match_set_lyr_2_4::TCP_DPORT, 80),
        (layout::fte_match_set_lyr_2_4::TCP_FLAGS, 0x099),
        (layout::fte_match_set_lyr_2_4::UDP_DPORT, 0),
        (layout::fte_match_set_lyr_2_4::CVLAN_TAG, 0),
        (layout::fte_match_set_lyr_2_4::FRAG, 0),
    ];
    for (name, value) in expected {
        assert_eq!(field(&headers, name), value, "{name:?}");
    }
    let destination = layout::fte_match_set_lyr_2_4::DST_IPV4_DST_IPV6.byte();
    assert_eq!(
        headers.fields[destination..destination + 16],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 9, 0, 1]
    );
}

#[test]
fn fields_of_a_tagged_ipv6_frame_are_those_that_it_has() {
    let frame = Content {
        vlan: Some(77),
        version: 6,
        ..Content::default()
    }
    .frame();
    let headers = parse(&frame);
    assert_eq!(headers.vlan, Some(77));
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::CVLAN_TAG), 1);
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::FIRST_VID), 77);
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::ETHERTYPE), 0x86dd);
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::UDP_DPORT), 53);
    let source = layout::fte_match_set_lyr_2_4::SRC_IPV4_SRC_IPV6.byte();
    assert_eq!(headers.fields[source..source + 16], [9; 16]);
}

#[test]
fn extension_headers_are_skipped() {
    let mut frame = Content {
        version: 6,
        ..Content::default()
    }
    .frame();
    // Destination options of 8 bytes between the IPv6 and the UDP header.
    frame.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
    frame[20] = 60;
    let length = word(&frame, 18) + 8;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    let headers = parse(&frame);
    assert_eq!(
        headers.network.map(|network| (network.protocol, network.payload)),
        Some((17, 62))
    );
    assert_eq!(headers.transport.map(|transport| transport.start), Some(62));
}

#[test]
fn a_fragment_has_no_transport_header() {
    let mut frame = Content::default().frame();
    frame[20] = 0x20;
    let headers = parse(&frame);
    assert_eq!(headers.transport, None);
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::FRAG), 1);
    assert_eq!(field(&headers, layout::fte_match_set_lyr_2_4::UDP_DPORT), 0);
}

#[test]
fn padding_is_behind_the_packet() {
    let mut frame = Content {
        payload: vec![1],
        ..Content::default()
    }
    .frame();
    let end = frame.len();
    frame.resize(60, 0);
    assert_eq!(parse(&frame).network.map(|network| network.end), Some(end));
}

proptest! {
    #[test]
    fn no_frame_is_parsed_beyond_its_end(
        content in (any::<bool>(), any::<bool>(), any::<bool>()),
        cut in 0_usize..200,
        changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..8),
    ) {
        let (vlan, six, tcp) = content;
        let content = Content {
            vlan: vlan.then_some(5),
            version: if six { 6 } else { 4 },
            tcp,
            ..Content::default()
        };
        let mut frame = content.frame();
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(cut);
        let headers = parse(&frame);
        if let Some(network) = headers.network {
            prop_assert!(network.start < network.payload);
            prop_assert!(network.payload <= network.end && network.end <= frame.len());
        }
        if let Some(transport) = headers.transport {
            prop_assert!(transport.start < transport.payload && transport.payload <= frame.len());
        }
    }
}

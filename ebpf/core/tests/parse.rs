//! Parsing, against packets built by another library and against hand-made edges.
#![expect(clippy::unwrap_used, reason = "packets of the tests' own making")]

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, PacketBuilder, VlanId};
use rstest::rstest;
use xdp_core::{
    events::Unparsed,
    parse::{TransportHeader, parse, parse_addresses},
    tables::Address,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const V6_SOURCE: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const V6_DESTINATION: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

fn udp_v4() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, MAC)
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(1000, 7777)
        .write(&mut frame, b"payload")
        .unwrap();
    frame
}

/// IPv6 with these bytes behind the fixed header.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [MAC, MAC].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend(V6_SOURCE);
    frame.extend(V6_DESTINATION);
    frame.extend(payload);
    frame
}

/// `udp_v4` with its IP header changed.
fn v4_with(change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let frame = udp_v4();
    let (mut header, rest) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    let payload_len = rest.len();
    change(&mut header);
    header.total_len = (header.header_len() + payload_len) as u16;
    let mut out = frame[..14].to_vec();
    header.write_raw(&mut out).unwrap();
    out.extend(rest);
    out
}

fn transport(frame: &[u8]) -> TransportHeader {
    parse(frame).unwrap().transport()
}

const UDP_PORTS: TransportHeader = TransportHeader::Ports {
    source: 1000,
    destination: 7777,
};
const UDP: [u8; 8] = [3, 232, 30, 97, 0, 8, 0, 0];

#[test]
fn all_fields_of_a_udp_packet_are_read() {
    let packet = parse(udp_v4().as_slice()).unwrap();
    assert_eq!(
        (packet.tags, packet.ip_len, packet.protocol, packet.upper_offset),
        (0, 35, 17, 34)
    );
    assert_eq!(packet.source, Address::v4([192, 0, 2, 1]));
    assert_eq!(packet.destination, Address::v4([192, 0, 2, 2]));
    assert_eq!(packet.transport(), UDP_PORTS);
    assert!(!packet.fragment && !packet.group_mac);
}

#[test]
fn all_fields_of_a_tcp_packet_over_ipv6_are_read() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(V6_SOURCE, V6_DESTINATION, 64)
        .tcp(1, 65535, 0, 0)
        .write(&mut frame, b"")
        .unwrap();
    let packet = parse(frame.as_slice()).unwrap();
    assert_eq!(
        (packet.tags, packet.ip_len, packet.protocol, packet.upper_offset),
        (0, 60, 6, 54)
    );
    assert_eq!(packet.source, Address::v6(V6_SOURCE));
    assert_eq!(packet.destination, Address::v6(V6_DESTINATION));
    let ports = TransportHeader::Ports {
        source: 1,
        destination: 65535,
    };
    assert_eq!(packet.transport(), ports);
    assert!(!packet.fragment && packet.group_mac);
}

#[test]
fn two_vlan_tags_are_looked_through_and_three_are_not() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, MAC)
        .double_vlan(VlanId::try_new(1).unwrap(), VlanId::try_new(2).unwrap())
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(1000, 7777)
        .write(&mut frame, b"")
        .unwrap();
    let packet = parse(frame.as_slice()).unwrap();
    assert_eq!(
        (packet.tags, packet.ip_offset(), packet.transport()),
        (2, 22, UDP_PORTS)
    );
    frame.splice(12..12, [0x81, 0, 0, 3]);
    assert_eq!(parse(frame.as_slice()), Err(Unparsed::TooManyTags));
}

#[test]
fn ipv4_options_are_skipped() {
    let frame = v4_with(|header| header.options = [7u8; 40].into());
    assert_eq!(
        parse(frame.as_slice()).map(|p| (p.ip_len, p.transport())),
        Ok((75, UDP_PORTS))
    );
}

#[test]
fn a_first_fragment_has_ports_and_a_later_one_has_none() {
    assert_eq!(
        transport(&v4_with(|header| header.more_fragments = true)),
        UDP_PORTS
    );
    let later = v4_with(|header| header.fragment_offset = IpFragOffset::try_new(1).unwrap());
    assert_eq!(transport(&later), TransportHeader::LaterFragment);
}

#[test]
fn every_part_of_a_packet_is_a_fragment_and_a_whole_packet_is_none() {
    let is_fragment = |frame: &[u8]| parse(frame).unwrap().fragment;
    assert!(is_fragment(&v4_with(|header| header.more_fragments = true)));
    assert!(is_fragment(&v4_with(
        |header| header.fragment_offset = IpFragOffset::try_new(1).unwrap()
    )));
    assert!(!is_fragment(&v4_with(|header| header.dont_fragment = true)));
}

#[rstest]
#[case(0, true, UDP_PORTS)]
#[case(0, false, UDP_PORTS)]
#[case(1, true, TransportHeader::LaterFragment)]
#[case(0x1fff, false, TransportHeader::LaterFragment)]
fn first_and_later_ipv6_fragments_differ(
    #[case] offset: u16,
    #[case] more: bool,
    #[case] expected: TransportHeader,
) {
    let header = Ipv6FragmentHeader::new(IpNumber(17), IpFragOffset::try_new(offset).unwrap(), more, 9);
    let frame = v6(44, &[header.to_bytes().as_slice(), &UDP].concat());
    assert_eq!(transport(&frame), expected);
    let packet = parse(frame.as_slice()).unwrap();
    assert_eq!(packet.protocol, 17);
    // A fragment header around a whole packet ("atomic fragment", RFC 6946) makes no fragment of it.
    assert_eq!(packet.fragment, more || offset != 0);
}

/// Hop-by-hop, routing, destination options, AH of 12 + 12 bytes.
#[rstest]
#[case(0, 8)]
#[case(43, 8)]
#[case(60, 8)]
#[case(51, 16)]
fn an_extension_header_is_skipped_by_its_length(#[case] kind: u8, #[case] len: usize) {
    let mut header = vec![0; len];
    header[..2].copy_from_slice(&[17, if kind == 51 { 2 } else { 0 }]);
    assert_eq!(
        transport(&v6(kind, &[header.as_slice(), &UDP].concat())),
        UDP_PORTS
    );
}

#[test]
fn six_extension_headers_are_looked_through_and_seven_are_not() {
    let chain = |n: usize| {
        let mut payload = [60, 0, 0, 0, 0, 0, 0, 0].repeat(n - 1);
        payload.extend([17, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend(UDP);
        v6(60, &payload)
    };
    assert_eq!(transport(&chain(6)), UDP_PORTS);
    assert_eq!(parse(chain(7).as_slice()), Err(Unparsed::TooManyExtensionHeaders));
}

#[test]
fn icmp_is_only_icmp_in_its_own_family() {
    let icmp = [3, 4, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        transport(&v6(58, &icmp)),
        TransportHeader::Icmp { kind: 3, code: 4 }
    );
    assert_eq!(transport(&v6(1, &icmp)), TransportHeader::Other);
    assert_eq!(
        transport(&v4_with(|h| h.protocol = IpNumber::ICMP)),
        TransportHeader::Icmp { kind: 3, code: 232 }
    );
    assert_eq!(
        transport(&v4_with(|h| h.protocol = IpNumber::IPV6_ICMP)),
        TransportHeader::Other
    );
}

#[rstest]
#[case(6, UDP_PORTS)]
#[case(132, UDP_PORTS)]
#[case(50, TransportHeader::Other)]
#[case(255, TransportHeader::Other)]
fn other_protocols_are_parsed_as_far_as_they_go(#[case] number: u8, #[case] expected: TransportHeader) {
    let frame = v4_with(|header| header.protocol = IpNumber(number));
    assert_eq!(
        parse(frame.as_slice()).map(|p| (p.protocol, p.transport())),
        Ok((number, expected))
    );
}

#[rstest]
#[case::version(14, 0x55, Unparsed::BadIpHeader)]
#[case::header_length(14, 0x44, Unparsed::BadIpHeader)]
#[case::header_longer_than_packet(14, 0x4f, Unparsed::BadIpHeader)]
#[case::total_length_zero(17, 0, Unparsed::BadIpHeader)]
#[case::total_length_without_ports(17, 23, Unparsed::Short)]
#[case::total_length_beyond_frame(17, 36, Unparsed::Truncated)]
#[case::arp(13, 6, Unparsed::NotIp)]
fn a_malformed_packet_has_its_reason(#[case] offset: usize, #[case] byte: u8, #[case] reason: Unparsed) {
    let mut frame = udp_v4();
    frame[offset] = byte;
    assert_eq!(parse(frame.as_slice()), Err(reason));
}

#[test]
fn padding_is_not_read_as_a_header() {
    let mut frame = v6(17, &[]);
    frame.extend([0; 20]);
    assert_eq!(parse(frame.as_slice()), Err(Unparsed::Short));
}

#[test]
fn a_mapped_address_in_ipv6_is_not_an_ipv4_address() {
    for offset in [14 + 8, 14 + 24] {
        let mut frame = v6(17, &UDP);
        frame[offset..offset + 16].copy_from_slice(&Address::v4([192, 0, 2, 1]).octets());
        assert_eq!(parse(frame.as_slice()), Err(Unparsed::V4MappedInV6));
    }
}

#[test]
fn a_jumbogram_is_not_parsed() {
    let mut frame = v6(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    frame[18..20].fill(0);
    assert_eq!(parse(frame.as_slice()), Err(Unparsed::Jumbogram));
}

#[rstest]
#[case::too_many_headers(v6(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(7)), Unparsed::TooManyExtensionHeaders)]
#[case::header_beyond_the_end(v6(60, &[17, 2, 0, 0, 0, 0, 0, 0]), Unparsed::Short)]
#[case::half_a_header(v6(43, &[17, 0, 0, 0]), Unparsed::Short)]
#[case::half_the_ports(v6(17, &[3, 232]), Unparsed::Short)]
#[case::first_fragment_without_ports(v6(44, &[17, 0, 0, 1, 0, 0, 0, 9]), Unparsed::Short)]
fn what_has_no_transport_header_has_addresses(#[case] frame: Vec<u8>, #[case] reason: Unparsed) {
    assert_eq!(parse(frame.as_slice()), Err(reason));
    let packet = parse_addresses(frame.as_slice()).unwrap();
    assert_eq!(packet.unparsed(), Some(reason));
    assert_eq!(packet.transport(), TransportHeader::Unparsed(reason));
    assert_eq!(
        (packet.source, packet.destination),
        (Address::v6(V6_SOURCE), Address::v6(V6_DESTINATION))
    );
}

/// Linux takes them for protocols (`ipv6_ext_hdr` in `net/ipv6/exthdrs_core.c`): no next header, mobility,
/// HIP, shim6, and the two for experiments.
#[rstest]
fn other_headers_of_ipv6_are_protocols(#[values(59, 135, 139, 140, 253, 254)] next: u8) {
    let frame = v6(next, &[17, 0, 0, 0, 0, 0, 0, 0]);
    let packet = parse(frame.as_slice()).unwrap();
    assert_eq!(
        (packet.protocol, packet.transport()),
        (next, TransportHeader::Other)
    );
}

#[test]
fn codes_and_names_are_distinct_and_fit_the_table() {
    let codes = Unparsed::ALL.map(|reason| (reason.code(), format!("{reason:?}")));
    for (index, (code, name)) in codes.iter().enumerate() {
        assert_eq!(
            (*code, name.as_str()),
            (index as u32, Unparsed::ALL[index].name())
        );
    }
}

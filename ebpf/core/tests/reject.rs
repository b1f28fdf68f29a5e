//! Answers to rejected packets, read by another library and held against the standards.
#![expect(clippy::unwrap_used, reason = "packets of the tests' own making")]

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, NetHeaders, PacketBuilder, PacketHeaders, TcpHeader,
    TransportHeader, VlanId, icmpv4::DestUnreachableHeader, icmpv6::DestUnreachableCode,
};
use rstest::rstest;
use xdp_core::{
    events::Event,
    reject::turn,
    tables::{Action, ActionRecord, Station, TagId},
    testing::{FrameBuffer, NIC, POD, POD_V6, PacketShape, PodModel},
    verdict::{Verdict, decide},
};

const CLIENT: [u8; 4] = [198, 51, 100, 7];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const NIC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

fn verdict(frame: &[u8]) -> Verdict {
    let record = ActionRecord {
        rule: 7,
        action: Action::Reject as u8,
        ..ActionRecord::default()
    };
    let mut model = PodModel::new(POD, POD_V6).with_rule(record);
    for (outer, inner) in [
        ((VLAN, 5), None),
        ((VLAN, 6), None),
        ((SERVICE_VLAN, 5), Some((VLAN, 6))),
    ] {
        let tag = |(protocol, vlan)| TagId::new(protocol, vlan);
        let station = Station {
            mac: xdp_core::testing::NIC_MAC,
            nic: NIC.ifindex,
            tags: [tag(outer), inner.map(tag).unwrap_or_default()],
        };
        let group = Station {
            mac: Station::GROUP,
            ..station
        };
        model
            .stations
            .extend([station, group].map(|station| (station, NIC.receiver)));
    }
    decide(frame, &model)
}

/// Returns the answer.
fn answer(frame: &[u8]) -> Vec<u8> {
    let Verdict::Reject { rule: 7, offender } = verdict(frame) else {
        panic!("{:?}", verdict(frame));
    };
    let mut buffer = FrameBuffer::new(frame);
    turn(&mut buffer, &offender).unwrap();
    buffer.bytes
}

/// Checks what all answers have in common, and returns the headers.
fn checked(answer: &[u8]) -> PacketHeaders<'_> {
    let headers = PacketHeaders::from_ethernet_slice(answer).unwrap();
    let link = headers.link.clone().unwrap().ethernet2().unwrap();
    assert_eq!((link.source, link.destination), (NIC_MAC, CLIENT_MAC));
    let ip_offset = 14 + 4 * headers.vlan_ids().len();
    match headers.net.clone().unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!((ip.source, ip.destination), (POD, CLIENT));
            assert_eq!((ip.time_to_live, ip.dont_fragment), (64, true));
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(answer.len(), ip_offset + usize::from(ip.total_len));
        }
        NetHeaders::Ipv6(ip, _) => {
            assert_eq!((ip.source, ip.destination), (POD_V6.octets(), CLIENT_V6));
            assert_eq!(ip.hop_limit, 64);
            assert_eq!(answer.len(), ip_offset + 40 + usize::from(ip.payload_length));
        }
        NetHeaders::Arp(_) => panic!("not IP"),
    }
    headers
}

fn reset(answer: &[u8]) -> TcpHeader {
    let headers = checked(answer);
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else {
        panic!("{:?}", headers.transport);
    };
    let checksum = match headers.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => tcp.calc_checksum_ipv4(&ip, &[]).unwrap(),
        NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(&ip, &[]).unwrap(),
        NetHeaders::Arp(_) => 0,
    };
    assert_eq!(tcp.checksum, checksum);
    assert!(headers.payload.slice().is_empty() && tcp.options.is_empty());
    tcp
}

/// Returns what an ICMP error quotes.
fn quoted(answer: &[u8]) -> Vec<u8> {
    let headers = checked(answer);
    let payload = headers.payload.slice().to_vec();
    match (headers.transport.unwrap(), headers.net.unwrap()) {
        (TransportHeader::Icmpv4(icmp), _) => {
            let prohibited = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FilterProhibited);
            assert_eq!(icmp.icmp_type, prohibited);
            assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(&payload));
        }
        (TransportHeader::Icmpv6(icmp), NetHeaders::Ipv6(ip, _)) => {
            let prohibited = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Prohibited);
            assert_eq!(icmp.icmp_type, prohibited);
            let checksum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, &payload);
            assert_eq!(icmp.checksum, checksum.unwrap());
        }
        other => panic!("{other:?}"),
    }
    payload
}

/// A TCP segment to the pod's port 443.
fn segment(v6: bool, tags: usize, change: impl FnOnce(&mut TcpHeader), data: &[u8]) -> Vec<u8> {
    let mut tcp = TcpHeader::new(51_000, 443, 0xffff_fff0, 1024);
    change(&mut tcp);
    let link = PacketBuilder::ethernet2(CLIENT_MAC, NIC_MAC);
    let tag = |id| VlanId::try_new(id).unwrap();
    let mut frame = Vec::new();
    match (tags, v6) {
        (0, false) => link.ipv4(CLIENT, POD, 57).tcp_header(tcp).write(&mut frame, data),
        (0, _) => link
            .ipv6(CLIENT_V6, POD_V6.octets(), 57)
            .tcp_header(tcp)
            .write(&mut frame, data),
        (1, false) => link
            .single_vlan(tag(5))
            .ipv4(CLIENT, POD, 57)
            .tcp_header(tcp)
            .write(&mut frame, data),
        (1, _) => {
            let link = link.single_vlan(tag(5));
            link.ipv6(CLIENT_V6, POD_V6.octets(), 57)
                .tcp_header(tcp)
                .write(&mut frame, data)
        }
        (_, false) => {
            let link = link.double_vlan(tag(5), tag(6));
            link.ipv4(CLIENT, POD, 57).tcp_header(tcp).write(&mut frame, data)
        }
        (..) => {
            let link = link.double_vlan(tag(5), tag(6));
            link.ipv6(CLIENT_V6, POD_V6.octets(), 57)
                .tcp_header(tcp)
                .write(&mut frame, data)
        }
    }
    .unwrap();
    frame
}

/// RFC 9293, 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
/// <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>".
#[rstest]
fn a_segment_without_ack_is_acknowledged_by_the_reset(
    #[values(false, true)] v6: bool,
    #[values(0, 1, 2)] tags: usize,
    #[values((true, false), (false, true), (true, true), (false, false))] (syn, fin): (bool, bool),
    #[values(0, 1, 20, 37)] data: usize,
) {
    let flags = |tcp: &mut TcpHeader| (tcp.syn, tcp.fin) = (syn, fin);
    let frame = segment(v6, tags, flags, &vec![0xda; data]);
    let answer = answer(&frame);
    let tcp = reset(&answer);
    assert_eq!((tcp.source_port, tcp.destination_port), (443, 51_000));
    let length = data as u32 + u32::from(syn) + u32::from(fin);
    assert_eq!(tcp.sequence_number, 0);
    assert_eq!(tcp.acknowledgment_number, 0xffff_fff0_u32.wrapping_add(length));
    assert!(tcp.rst && tcp.ack && !tcp.syn && !tcp.fin && tcp.window_size == 0);
    // Tags and the protocol behind them are as they were.
    assert_eq!(answer[12..14 + 4 * tags], frame[12..14 + 4 * tags]);
}

/// "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>".
#[rstest]
fn a_segment_with_ack_is_reset_where_it_acknowledged(
    #[values(false, true)] v6: bool,
    #[values(0, 3)] data: usize,
) {
    let flags =
        |tcp: &mut TcpHeader| (tcp.ack, tcp.psh, tcp.acknowledgment_number) = (true, true, 0x8000_0001);
    let tcp = reset(&answer(&segment(v6, 0, flags, &vec![7; data])));
    assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (0x8000_0001, 0));
    assert!(tcp.rst && !tcp.ack && !tcp.syn && !tcp.fin && !tcp.psh);
}

#[test]
fn options_count_neither_as_data_nor_are_they_answered() {
    let options = |tcp: &mut TcpHeader| {
        tcp.syn = true;
        tcp.set_options_raw(&[2, 4, 5, 180, 1, 1, 4, 2]).unwrap();
    };
    let tcp = reset(&answer(&segment(false, 0, options, &[])));
    assert_eq!(tcp.acknowledgment_number, 0xffff_fff1);
}

#[test]
fn padding_is_no_data() {
    let mut frame = segment(false, 0, |tcp| tcp.syn = true, &[]);
    frame.resize(60, 0xaa);
    assert_eq!(reset(&answer(&frame)).acknowledgment_number, 0xffff_fff1);
}

#[rstest]
#[case::udp(17, 8)]
#[case::udp_with_data(17, 100)]
#[case::echo(1, 8)]
#[case::other(47, 30)]
#[case::shorter_than_the_quote(47, 7)]
#[case::two_bytes(47, 2)]
#[case::nothing(47, 0)]
fn ipv4_is_answered_with_its_header_and_eight_bytes(
    #[case] protocol: u8,
    #[case] length: usize,
    #[values(0, 1, 2)] tags: usize,
    #[values(0, 4, 40)] options: usize,
) {
    let mut ip = Ipv4Header::new(length as u16, 57, IpNumber(protocol), CLIENT, POD).unwrap();
    ip.options = vec![1; options].as_slice().try_into().unwrap();
    ip.total_len = (20 + options + length) as u16;
    ip.header_checksum = ip.calc_header_checksum();
    let mut packet = ip.to_bytes().to_vec();
    packet.extend((0..length).map(|byte| if protocol == 1 { 8 } else { 0xc0 ^ byte as u8 }));
    let frame = tagged(tags, [8, 0], &packet);
    let answer = answer(&frame);
    assert_eq!(quoted(&answer), packet[..packet.len().min(20 + options + 8)]);
    assert_eq!(answer[12..14 + 4 * tags], frame[12..14 + 4 * tags]);
}

fn tagged(tags: usize, ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = [NIC_MAC, CLIENT_MAC].concat();
    frame.extend([0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 6][8 - 4 * tags..].iter());
    frame.extend(ethertype);
    frame.extend(packet);
    frame
}

#[rstest]
#[case::udp(17, 8)]
#[case::echo(58, 8)]
#[case::other(47, 300)]
#[case::shorter_than_the_quote(47, 5)]
fn ipv6_is_answered_with_its_headers_and_eight_bytes(
    #[case] protocol: u8,
    #[case] length: usize,
    #[values(0, 1, 2)] tags: usize,
    #[values(0, 1, 3)] extensions: usize,
    #[values(0, 1, 9)] longer: usize,
) {
    let chain = [vec![60; extensions], vec![protocol]].concat();
    let mut payload = Vec::new();
    for next in &chain[1..] {
        payload.extend([*next, longer as u8]);
        payload.resize(payload.len() + 6 + 8 * longer, 3);
    }
    let upper = payload.len();
    payload.extend((0..length).map(|byte| if protocol == 58 { 128 } else { 0xc0 ^ byte as u8 }));
    let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, chain[0], 57];
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend(CLIENT_V6);
    packet.extend(POD_V6.octets());
    packet.extend(payload);
    let frame = tagged(tags, [0x86, 0xdd], &packet);
    let answer = answer(&frame);
    // Not more than 128 bytes.
    assert_eq!(
        quoted(&answer),
        packet[..packet.len().min(40 + upper + 8).min(128)]
    );
    assert_eq!(answer[12..14 + 4 * tags], frame[12..14 + 4 * tags]);
}

#[test]
fn without_room_in_front_there_is_no_answer() {
    let frame = PacketShape::udp(0xc633_6407, false).frame();
    let Verdict::Reject { offender, .. } = verdict(&frame) else {
        unreachable!()
    };
    let mut buffer = FrameBuffer {
        bytes: frame,
        headroom: 27,
    };
    assert_eq!(turn(&mut buffer, &offender), None);
}

const SILENT: Verdict = Verdict::RejectedSilently {
    rule: 7,
    reason: Event::RejectSilent,
};

fn silent(v6: bool, change: impl FnOnce(&mut PacketShape)) -> bool {
    let source = if v6 {
        u128::from_be_bytes(CLIENT_V6)
    } else {
        0xc633_6407
    };
    let mut shape = PacketShape::udp(source, v6);
    change(&mut shape);
    verdict(&shape.frame()) == SILENT
}

#[test]
fn a_reset_is_not_answered() {
    for v6 in [false, true] {
        for flags in 0..=255 {
            let tcp = |shape: &mut PacketShape| (shape.protocol, shape.tcp_flags) = (6, flags);
            assert_eq!(silent(v6, tcp), flags & 4 != 0, "{flags:#x}");
        }
    }
}

#[test]
fn icmp_errors_are_not_answered_and_questions_are() {
    let icmp = |v6, kind: u8| {
        silent(v6, |shape| {
            shape.protocol = if v6 { 58 } else { 1 };
            shape.l4.0 = u16::from(kind) << 8;
        })
    };
    // RFC 1122, 3.2.2: unreachable, source quench, redirect, time exceeded, parameter problem; and unknown
    // types.
    for kind in [3, 4, 5, 11, 12, 1, 2, 19, 255] {
        assert!(icmp(false, kind), "{kind}");
    }
    for kind in [0, 8, 13, 15, 17] {
        assert!(!icmp(false, kind), "{kind}");
    }
    // RFC 4443, 2.1: the high bit tells.
    for kind in (0..=255).filter(|kind| !(133..=137).contains(kind)) {
        assert_eq!(icmp(true, kind), kind < 128, "{kind}");
    }
}

#[test]
fn fragments_and_what_was_sent_to_a_group_are_not_answered() {
    for v6 in [false, true] {
        assert!(!silent(v6, |_| {}));
        assert!(silent(v6, |shape| shape.first_fragment = true));
        assert!(silent(v6, |shape| shape.later_fragment = true));
        assert!(silent(v6, |shape| shape.group_mac = true));
    }
}

#[test]
fn sources_that_are_no_host_are_not_answered() {
    for (source, is_silent) in [
        ([0, 0, 0, 0], true),
        ([0, 1, 2, 3], true),
        ([127, 0, 0, 1], true),
        ([224, 0, 0, 1], true),
        ([239, 255, 255, 255], true),
        ([255, 255, 255, 255], true),
        ([255, 255, 255, 254], false),
        ([1, 0, 0, 0], false),
        ([223, 255, 255, 255], false),
        ([240, 0, 0, 1], false),
    ] {
        let from = |shape: &mut PacketShape| shape.source = u128::from(u32::from_be_bytes(source));
        assert_eq!(silent(false, from), is_silent, "{source:?}");
    }
    for (source, is_silent) in [
        (0, true),
        (1, true),
        (2, false),
        (0xff02 << 112 | 1, true),
        (0xfe80 << 112 | 1, false),
    ] {
        assert_eq!(
            silent(true, |shape| shape.source = source),
            is_silent,
            "{source:x}"
        );
    }
}

#[rstest]
#[case::offset_too_small(12, 0x40)]
#[case::offset_beyond_the_end(12, 0x60)]
fn a_broken_tcp_header_is_not_answered(
    #[case] offset: usize,
    #[case] byte: u8,
    #[values(false, true)] v6: bool,
) {
    let mut frame = segment(v6, 0, |tcp| tcp.syn = true, &[]);
    let upper = frame.len() - 20;
    frame[upper + offset] = byte;
    assert_eq!(verdict(&frame), SILENT);
}

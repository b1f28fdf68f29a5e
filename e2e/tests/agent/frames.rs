//! Frames that sockets do not send, and the answers to them, parsed byte by byte.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use etherparse::{IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep};
use xdp_lab::{LabPod, Nic, RawSocket};

use crate::fixture::Fixture;

/// The length of both MAC addresses.
const MACS: usize = 12;

/// The beginning of an IP packet.
pub(crate) fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to} are of two families"),
    }
}

/// A complete UDP packet.
pub(crate) fn udp(from: IpAddr, to: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ip(from, to).udp(4000, port).write(&mut packet, payload).unwrap();
    packet
}

/// A complete packet of any protocol.
pub(crate) fn any(from: IpAddr, to: IpAddr, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ip(from, to)
        .write(&mut packet, IpNumber(protocol), upper)
        .unwrap();
    packet
}

/// An ICMP or `ICMPv6` message with this type and code, and a correct checksum.
pub(crate) fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8) -> Vec<u8> {
    let mut upper = vec![kind, code, 0, 0, 0, 77, 0, 1];
    let protocol = if from.is_ipv4() { 1 } else { 58 };
    let sum = if from.is_ipv4() {
        sum(&[&upper])
    } else {
        sum(&[&pseudo(from, to, protocol, upper.len()), &upper])
    };
    upper[2..4].copy_from_slice(&(!sum).to_be_bytes());
    any(from, to, protocol, &upper)
}

/// An IPv6 packet with these extension headers of eight bytes in front of what follows the IP header: options
/// with padding only, a routing header without segments left, a fragment header around a whole packet.
pub(crate) fn behind(packet: &[u8], headers: &[u8]) -> Vec<u8> {
    const HEADER: usize = 40;
    let (ip, upper) = packet.split_at(HEADER);
    let mut chain: Vec<u8> = headers.to_vec();
    chain.push(ip[6]);
    let mut longer = ip.to_vec();
    longer[6] = chain[0];
    for pair in chain.windows(2) {
        let rest = match pair[0] {
            43 => [0, 0, 0, 0, 0, 0, 0],
            44 => [0, 0, 0, 0, 0, 0, 9],
            _ => [0, 1, 4, 0, 0, 0, 0],
        };
        longer.push(pair[1]);
        longer.extend(rest);
    }
    longer.extend(upper);
    let length = (longer.len() - HEADER) as u16;
    longer[4..6].copy_from_slice(&length.to_be_bytes());
    longer
}

/// The frame that the client sends, with VLAN tags.
pub(crate) fn on_wire(nic: &Nic, tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = [nic.mac, nic.client_mac].concat();
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype(packet));
    frame.extend(packet);
    frame
}

fn ethertype(packet: &[u8]) -> [u8; 2] {
    if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] }
}

/// An IP packet that came back, with correct checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) tags: Vec<u16>,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: u8,
    /// From the transport header on.
    pub(crate) upper: Vec<u8>,
}

impl Answer {
    /// Parses a frame that the client received. Returns `None` if it is not an answer of `pod`.
    ///
    /// # Panics
    /// If the answer is malformed.
    pub(crate) fn read(nic: &Nic, pod: IpAddr, frame: &[u8]) -> Option<Self> {
        let (mut at, mut tags) = (MACS, Vec::new());
        while frame[at..at + 2] == [0x81, 0] {
            tags.push(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
            at += 4;
        }
        let packet = frame.get(at + 2..)?;
        let (from, to, protocol, upper) = match frame[at..at + 2] {
            [8, 0] => v4(packet),
            [0x86, 0xdd] => v6(packet),
            _ => return None,
        };
        if from != pod {
            return None;
        }
        assert!(matches!(protocol, 1 | 6 | 58), "{frame:02x?}");
        assert_eq!(frame[..MACS], [nic.client_mac, nic.mac].concat());
        let pseudo = if protocol == 1 {
            Vec::new()
        } else {
            pseudo(from, to, protocol, upper.len())
        };
        assert_eq!(
            sum(&[&pseudo, upper]),
            u16::MAX,
            "its checksum is wrong: {frame:02x?}"
        );
        let upper = upper.to_vec();
        Some(Self {
            tags,
            from,
            to,
            protocol,
            upper,
        })
    }

    /// The bytes at an offset after the IP header.
    pub(crate) fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.upper[offset..offset + N].try_into().unwrap()
    }
}

fn v4(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    assert_eq!(sum(&[&packet[..header]]), u16::MAX, "{packet:02x?}");
    assert_eq!(
        usize::from(u16::from_be_bytes([packet[2], packet[3]])),
        packet.len()
    );
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()).into();
    (address(12), address(16), packet[9], &packet[header..])
}

fn v6(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    const HEADER: usize = 40;
    let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert_eq!(HEADER + length, packet.len());
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap()).into();
    (address(8), address(24), packet[6], &packet[HEADER..])
}

fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let octets = |ip| match ip {
        IpAddr::V4(ip) => Ipv4Addr::octets(&ip).to_vec(),
        IpAddr::V6(ip) => Ipv6Addr::octets(&ip).to_vec(),
    };
    let mut header = [octets(from), octets(to)].concat();
    header.extend((length as u32).to_be_bytes());
    header.extend([0, 0, 0, protocol]);
    header
}

/// The Internet checksum before it is inverted. All ones for data that includes a correct checksum.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Long enough to conclude that no answer comes.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// Returns whether the pod answers an echo request within this time.
pub(crate) fn pings(fixture: &Fixture, pod: &LabPod, is_v6: bool, sequence: u16, within: Duration) -> bool {
    let nic = &fixture.nic;
    let mut packet = Vec::new();
    if is_v6 {
        let step = ip(nic.client_v6, pod.v6()).icmpv6_echo_request(77, sequence);
        step.write(&mut packet, b"ping").unwrap();
    } else {
        let step = ip(nic.client_v4, pod.v4()).icmpv4_echo_request(77, sequence);
        step.write(&mut packet, b"ping").unwrap();
    }
    let (at, reply) = if is_v6 { (54, 129) } else { (34, 0) };
    let wire = RawSocket::receiver(&fixture.client, &nic.wire).unwrap();
    let out = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    out.send(&on_wire(nic, &[], &packet)).unwrap();
    let mut rest = vec![0, 77];
    rest.extend(sequence.to_be_bytes());
    rest.extend(b"ping");
    wire.receive(within, |seen| {
        seen.get(at) == Some(&reply) && seen.get(at + 4..at + 12) == Some(&rest[..])
    })
    .is_ok()
}

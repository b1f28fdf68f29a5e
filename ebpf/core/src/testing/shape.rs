//! Packets to the pod from a description of their properties: a test need not parse a packet to know its
//! verdict.

use std::{vec, vec::Vec};

use super::{facts::PacketFacts, model::NIC_MAC};
use crate::{events::Unparsed, parse::MAX_EXTENSION_HEADERS, tables::Address};

/// The pod's IPv4 address.
pub const POD: [u8; 4] = [10, 0, 0, 2];
/// The pod's IPv6 address.
pub const POD_V6: Address = Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// The description of a packet to the pod.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a packet")]
pub struct PacketShape {
    /// Whether the packet is IPv6.
    pub v6: bool,
    /// Source address. IPv4 uses the last four bytes.
    pub source: u128,
    /// VLAN tags: VLAN 1, and VLAN 2 in it.
    pub tags: usize,
    /// Whether the tags are of other VLANs.
    pub other_vlan: bool,
    /// Whether the destination MAC address is that of another station.
    pub other_mac: bool,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Whether the destination MAC address is a multicast one.
    pub group_mac: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// Ports; for ICMP type and code, and two more bytes.
    pub l4: (u16, u16),
    /// TCP flags.
    pub tcp_flags: u8,
    /// Whether this is a first fragment.
    pub first_fragment: bool,
    /// Whether this is a later fragment.
    pub later_fragment: bool,
    /// 32-bit words of IPv4 options, or IPv6 extension headers of eight bytes, besides the fragment header.
    pub extra: usize,
    /// Whether the packet is longer than the pod's MTU.
    pub long: bool,
    /// Length to which the payload is cut: the IP packet ends there.
    pub cut: Option<usize>,
    /// Whether the IPv6 header has no payload length, and the first header is hop-by-hop options.
    pub jumbogram: bool,
}

impl PacketShape {
    /// Returns a UDP packet.
    pub fn udp(source: u128, v6: bool) -> Self {
        Self {
            v6,
            source,
            tags: 0,
            other_vlan: false,
            other_mac: false,
            ttl: 64,
            group_mac: false,
            protocol: 17,
            l4: (1000, 7777),
            tcp_flags: 2,
            first_fragment: false,
            later_fragment: false,
            extra: 0,
            long: false,
            cut: None,
            jumbogram: false,
        }
    }

    /// Returns a random packet.
    pub fn random(source: u128, port: u16, rng: &mut fastrand::Rng) -> Self {
        const PROTOCOLS: [u8; 12] = [6, 6, 6, 17, 17, 17, 132, 1, 58, 47, 255, 59];
        let v6 = rng.bool();
        Self {
            v6,
            source,
            tags: rng.choice([0, 0, 0, 1, 2]).unwrap_or(0),
            other_vlan: rng.u8(..16) == 0,
            other_mac: rng.u8(..16) == 0,
            ttl: rng.choice([0, 1, 2, 64, 64, 64, 64, 255]).unwrap_or(64),
            group_mac: rng.u8(..16) == 0,
            protocol: rng.choice(PROTOCOLS).unwrap_or(6),
            l4: (rng.choice([67, 546, 1000]).unwrap_or(0), port),
            tcp_flags: rng.u8(..),
            first_fragment: rng.u8(..16) == 0,
            later_fragment: rng.u8(..16) == 0,
            extra: if rng.bool() { 0 } else { rng.usize(..9) },
            long: rng.u8(..64) == 0,
            cut: (rng.u8(..16) == 0).then(|| rng.usize(..8)),
            jumbogram: rng.u8(..32) == 0,
        }
    }

    /// Whether this is an IP fragment.
    pub fn is_fragment(&self) -> bool {
        self.first_fragment || self.later_fragment
    }

    /// Returns the properties that a verdict depends on.
    pub fn facts(&self) -> PacketFacts {
        PacketFacts {
            v6: self.v6,
            source: self.source,
            tags: self.tags,
            vlans: [0, 1].map(|tag| {
                if tag < self.tags {
                    (0x8100, self.vlan(tag))
                } else {
                    (0, 0)
                }
            }),
            mac: self.mac(),
            group_mac: self.group_mac,
            ttl: self.ttl,
            options: !self.v6 && self.extra > 0,
            protocol: self.protocol,
            l4: self.l4,
            tcp_flags: (self.cut.is_none_or(|cut| cut >= 20)).then_some(self.tcp_flags),
            fragment: self.is_fragment(),
            later_fragment: self.later_fragment,
            ip_len: self.ip_len(),
            unparsed: self.unparsed(),
        }
    }

    /// Returns why the transport header cannot be read, and whether its protocol is known.
    fn unparsed(&self) -> Option<(Unparsed, bool)> {
        let has_header = if self.v6 {
            matches!(self.protocol, 6 | 17 | 58 | 132)
        } else {
            matches!(self.protocol, 1 | 6 | 17 | 132)
        };
        if self.is_jumbogram() {
            return Some((Unparsed::Jumbogram, false));
        }
        if self.v6 && self.chain().len() > MAX_EXTENSION_HEADERS as usize + 1 && !self.is_found_later() {
            return Some((Unparsed::TooManyExtensionHeaders, false));
        }
        let is_short = has_header && !self.later_fragment && self.cut.is_some_and(|cut| cut < 4);
        is_short.then_some((Unparsed::Short, true))
    }

    fn is_jumbogram(&self) -> bool {
        self.v6 && self.jumbogram
    }

    /// Whether the fragment header is among the headers that are walked, and ends the walk.
    fn is_found_later(&self) -> bool {
        self.later_fragment && self.extra <= MAX_EXTENSION_HEADERS as usize
    }

    /// Returns the length of the IP packet.
    pub fn ip_len(&self) -> usize {
        let payload = self.cut.unwrap_or(if self.long { 1481 } else { 20 });
        if self.v6 {
            40 + 8 * self.chain().len().saturating_sub(1) + payload
        } else {
            20 + 4 * self.extra + payload
        }
    }

    /// Returns the protocols of the headers of an IPv6 packet.
    fn chain(&self) -> Vec<u8> {
        let mut chain = vec![60; self.extra];
        if self.is_jumbogram() {
            chain.insert(0, 0);
        }
        if self.is_fragment() {
            chain.push(44);
        }
        chain.push(self.protocol);
        chain
    }

    fn mac(&self) -> u64 {
        NIC_MAC | u64::from(self.group_mac) << 40 | u64::from(self.other_mac) << 8
    }

    fn vlan(&self, tag: usize) -> u16 {
        tag as u16 + if self.other_vlan { 7 } else { 1 }
    }

    /// Returns the frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = self.mac().to_be_bytes()[2..].to_vec();
        frame.extend([2, 0, 0, 0, 0, 2]);
        for tag in 0..self.tags {
            frame.extend([0x81, 0]);
            frame.extend(self.vlan(tag).to_be_bytes());
        }
        let ip = frame.len() + 2;
        if self.v6 {
            self.v6_header(&mut frame);
        } else {
            self.v4_header(&mut frame);
        }
        frame.extend(self.l4.0.to_be_bytes());
        frame.extend(self.l4.1.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.tcp_flags]);
        frame.resize(ip + self.ip_len(), 0);
        frame
    }

    fn v4_header(&self, frame: &mut Vec<u8>) {
        let [l0, l1] = (self.ip_len() as u16).to_be_bytes();
        frame.extend([8, 0, 0x45 + self.extra as u8, 0, l0, l1, 0, 0]);
        let more = if self.first_fragment { 0x20 } else { 0 };
        frame.extend([more, u8::from(self.later_fragment)]);
        frame.extend([self.ttl, self.protocol, 0, 0]);
        frame.extend((self.source as u32).to_be_bytes());
        frame.extend(POD);
        frame.resize(frame.len() + 4 * self.extra, 1);
    }

    fn v6_header(&self, frame: &mut Vec<u8>) {
        let payload_len = if self.is_jumbogram() {
            0
        } else {
            self.ip_len() - 40
        };
        let [l0, l1] = (payload_len as u16).to_be_bytes();
        let chain = self.chain();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, l0, l1, chain[0], self.ttl]);
        frame.extend(self.source.to_be_bytes());
        frame.extend(POD_V6.octets());
        for pair in chain.windows(2) {
            let part = u16::from(self.later_fragment) << 3 | u16::from(self.first_fragment);
            let [p0, p1] = if pair[0] == 44 { part.to_be_bytes() } else { [0, 0] };
            frame.extend([pair[1], 0, p0, p1, 0, 0, 0, 0]);
        }
    }
}

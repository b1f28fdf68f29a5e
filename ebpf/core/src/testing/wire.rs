//! Packets of one flow, byte by byte.

use std::{vec, vec::Vec};

use super::NIC_MAC;
use crate::{
    flows::{Direction, FlowPacket, TransportView},
    parse::parse,
    tables::Address,
};

/// TCP flag.
pub const ACK: u8 = 0x10;
/// TCP flag.
pub const RST: u8 = 4;
/// TCP flag.
pub const SYN: u8 = 2;

const REMOTE: u8 = 9;
const POD: u8 = 2;

/// The transport header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireProtocol {
    /// TCP with these flags.
    Tcp(u8),
    /// UDP.
    Udp,
    /// SCTP with this chunk type.
    Sctp(u8),
    /// ICMP echo: a request to the pod, a reply from the pod.
    Echo,
    /// Another protocol.
    Other(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    First,
    Later,
}

/// A packet of a flow to the pod.
#[derive(Clone, Debug)]
pub struct WirePacket {
    v6: bool,
    protocol: WireProtocol,
    tags: usize,
    /// 32-bit words of IPv4 options, or IPv6 extension headers.
    extra: usize,
    part: Part,
    port: u16,
    /// Whether the packet is from the pod.
    reply: bool,
    /// An ICMP error in place of the transport header.
    error: Option<Vec<u8>>,
}

impl WirePacket {
    /// Returns a packet to the pod.
    #[must_use]
    pub fn new(v6: bool, protocol: WireProtocol) -> Self {
        Self {
            v6,
            protocol,
            tags: 0,
            extra: 0,
            part: Part::Whole,
            port: 40_000,
            reply: false,
            error: None,
        }
    }

    /// Adds tags of VLAN 7.
    #[must_use]
    pub fn tagged(self, tags: usize) -> Self {
        Self { tags, ..self }
    }

    /// Adds IPv4 options or IPv6 extension headers.
    #[must_use]
    pub fn longer_by(self, extra: usize) -> Self {
        Self { extra, ..self }
    }

    /// Sets the remote port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Returns the packet of the opposite direction.
    #[must_use]
    pub fn reply(&self) -> Self {
        let reply = !self.reply;
        Self {
            reply,
            ..self.clone()
        }
    }

    /// Makes this a first fragment.
    #[must_use]
    pub fn first_fragment(self) -> Self {
        let part = Part::First;
        Self { part, ..self }
    }

    /// Makes this a later fragment.
    #[must_use]
    pub fn later_fragment(self) -> Self {
        let part = Part::Later;
        Self { part, ..self }
    }

    /// Returns an ICMP error "unreachable" in the direction of this packet, which quotes `frame`.
    #[must_use]
    pub fn error_about(&self, frame: &[u8]) -> Self {
        let quoted = frame.get(14..).unwrap_or_default();
        let kind = if self.v6 { 1 } else { 3 };
        let error = [&[kind, 0, 0, 0, 0, 0, 0, 0], quoted].concat();
        Self {
            error: Some(error),
            ..self.clone()
        }
    }

    /// Returns the address of the pod's peer.
    pub fn remote(&self) -> Address {
        self.address(REMOTE)
    }

    fn address(&self, host: u8) -> Address {
        if self.v6 {
            Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host])
        } else {
            Address::v4([10, 0, 0, host])
        }
    }

    /// Returns the packet's flow and role.
    ///
    /// # Panics
    ///
    /// If the packet cannot be parsed.
    pub fn flow_packet(&self, direction: Direction) -> FlowPacket {
        let frame = self.frame();
        let packet = parse(frame.as_slice()).expect("a packet that can be parsed");
        FlowPacket::of(
            frame.as_slice(),
            &TransportView::of(frame.as_slice(), &packet),
            direction,
        )
    }

    /// Returns the frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = NIC_MAC.to_be_bytes()[2..].to_vec();
        frame.extend([2; 6]);
        for _ in 0..self.tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        let (protocol, payload) = self.upper();
        let (from, to) = if self.reply { (POD, REMOTE) } else { (REMOTE, POD) };
        let addresses = [from, to].map(|host| self.address(host).octets());
        if self.v6 {
            let mut chain = vec![60; self.extra];
            chain.extend((self.part != Part::Whole).then_some(44));
            chain.push(protocol);
            let length = (8 * (chain.len() - 1) + payload.len()) as u16;
            let [l0, l1] = length.to_be_bytes();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, l0, l1, chain[0], 64]);
            frame.extend(addresses.concat());
            for pair in chain.windows(2) {
                let part = if pair[0] == 44 { self.part_v6() } else { [0, 0] };
                frame.extend([pair[1], 0, part[0], part[1], 0, 0, 0, 0]);
            }
        } else {
            let header = 20 + 4 * self.extra;
            let [l0, l1] = ((header + payload.len()) as u16).to_be_bytes();
            let part = match self.part {
                Part::Whole => [0x40, 0],
                Part::First => [0x20, 0],
                Part::Later => [0, 100],
            };
            frame.extend([8, 0, 0x45 + self.extra as u8, 0, l0, l1, 0, 1]);
            frame.extend([part[0], part[1], 64, protocol, 0, 0]);
            frame.extend(addresses.iter().flat_map(|octets| &octets[12..]));
            frame.resize(frame.len() + 4 * self.extra, 1);
        }
        frame.extend(payload);
        frame
    }

    const fn part_v6(&self) -> [u8; 2] {
        match self.part {
            Part::Later => [0, 8],
            Part::Whole | Part::First => [0, 1],
        }
    }

    fn upper(&self) -> (u8, Vec<u8>) {
        if let Some(error) = &self.error {
            return (if self.v6 { 58 } else { 1 }, error.clone());
        }
        let (source, destination) = if self.reply {
            (80, self.port)
        } else {
            (self.port, 80)
        };
        let mut payload = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        let protocol = match self.protocol {
            WireProtocol::Tcp(flags) => {
                payload.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0]);
                6
            }
            WireProtocol::Udp => {
                payload.extend([0, 8, 0, 0]);
                17
            }
            WireProtocol::Sctp(chunk) => {
                payload.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 4]);
                132
            }
            WireProtocol::Echo => {
                let kind = match (self.v6, self.reply) {
                    (false, false) => 8,
                    (false, true) => 0,
                    (true, false) => 128,
                    (true, true) => 129,
                };
                let [i0, i1] = self.port.to_be_bytes();
                payload = vec![kind, 0, 0, 0, i0, i1, 0, 1];
                if self.v6 { 58 } else { 1 }
            }
            WireProtocol::Other(protocol) => {
                payload.resize(16, 0);
                protocol
            }
        };
        (protocol, payload)
    }
}

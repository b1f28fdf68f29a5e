//! Raw frames of the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, PacketBuilder, SlicedPacket, TransportSlice};

/// The addresses of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// The NIC.
    pub(super) to_mac: [u8; 6],
    /// The peer.
    pub(super) from_mac: [u8; 6],
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) port: u16,
}

/// The port of the peer.
pub(super) const SOURCE_PORT: u16 = 4000;

impl Flow {
    /// A UDP frame.
    pub(super) fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let step = self.ip().udp(SOURCE_PORT, self.port);
        step.write(&mut frame, payload).expect("a vector takes all bytes");
        frame
    }

    /// A TCP SYN.
    pub(super) fn syn(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let step = self.ip().tcp(SOURCE_PORT, self.port, 1000, 1000).syn();
        step.write(&mut frame, &[]).expect("a vector takes all bytes");
        frame
    }

    fn ip(&self) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(self.from_mac, self.to_mac);
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (from, to) => ethernet.ipv6(v6(from).octets(), v6(to).octets(), 64),
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Returns the source of an IP packet.
pub(super) fn source(frame: &[u8]) -> Option<IpAddr> {
    let (at, kind) = payload(frame)?;
    let packet = frame.get(at..)?;
    if kind == EtherType::IPV4.0 {
        let bytes: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    } else if kind == EtherType::IPV6.0 {
        let bytes: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).into())
    } else {
        None
    }
}

/// Returns where the packet begins, and its type, behind VLAN tags.
fn payload(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    loop {
        let kind = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
        if kind != EtherType::VLAN_TAGGED_FRAME.0 {
            return Some((at + 2, kind));
        }
        at += 4;
    }
}

/// What an answer to a rejected packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A TCP segment with RST.
    Reset,
    /// An ICMP or `ICMPv6` error: type and code.
    Icmp(u8, u8),
    /// Anything else.
    Other,
}

/// Returns what a frame is, if its checksums are correct.
pub(super) fn answer(frame: &[u8]) -> Answer {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return Answer::Other;
    };
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) if tcp.rst() => Answer::Reset,
        Some(TransportSlice::Icmpv4(icmp)) => Answer::Icmp(icmp.type_u8(), icmp.code_u8()),
        Some(TransportSlice::Icmpv6(icmp)) => Answer::Icmp(icmp.type_u8(), icmp.code_u8()),
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(from: &str, to: &str) -> Flow {
        Flow {
            to_mac: [2; 6],
            from_mac: [4; 6],
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            port: 7,
        }
    }

    #[test]
    fn the_source_of_a_frame_is_found_behind_tags() {
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let mut frame = flow(from, to).udp(b"payload");
            assert_eq!(source(&frame), Some(from.parse().unwrap()));
            frame.splice(12..12, [0x81, 0, 0, 7]);
            assert_eq!(source(&frame), Some(from.parse().unwrap()));
        }
        assert_eq!(source(&[1, 2, 3]), None);
    }
}

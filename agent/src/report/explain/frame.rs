//! The frame of the packet to explain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::report::explain::{IpProtocol, ProbePacket};

impl ProbePacket {
    /// Returns the packet in an Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        /// Locally administered unicast addresses.
        const STATIONS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let mut payload = self.payload();
        if self.truncated {
            payload.clear();
        }
        let (protocol, options) = self.options();
        payload.splice(..0, options);
        let mut frame = STATIONS.to_vec();
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([8, 0]);
                frame.extend(ipv4(from, to, protocol, payload.len()));
            }
            (from, to) => {
                frame.extend([0x86, 0xdd]);
                frame.extend(ipv6(v6(from), v6(to), protocol, payload.len()));
            }
        }
        frame.extend(payload);
        frame
    }

    /// Returns the destination options, and the number of the first of them.
    fn options(&self) -> (IpProtocol, Vec<u8>) {
        const OPTIONS: u8 = 60;
        let mut options = Vec::new();
        for left in (0..self.extension_headers).rev() {
            let next = if left == 0 { self.protocol.0 } else { OPTIONS };
            // Four bytes of padding.
            options.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
        let first = if options.is_empty() {
            self.protocol
        } else {
            IpProtocol(OPTIONS)
        };
        (first, options)
    }

    fn payload(&self) -> Vec<u8> {
        let ports = || {
            let ports = [self.source_port.unwrap_or(0), self.port.unwrap_or(0)];
            ports.into_iter().flat_map(u16::to_be_bytes)
        };
        match (self.protocol, self.message) {
            (IpProtocol::TCP, _) => {
                let mut header: Vec<u8> = ports().chain([0; 8]).collect();
                // Header length 20 bytes, SYN, window.
                header.extend([5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
                header
            }
            (IpProtocol::UDP, _) => ports().chain([0, 8, 0, 0]).collect(),
            (IpProtocol::SCTP, _) => ports().chain([0; 8]).collect(),
            (_, Some((kind, code))) => vec![kind, code, 0, 0, 0, 1, 0, 1],
            (_, None) => vec![0; 8],
        }
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, payload: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload as u16).to_be_bytes());
    // Don't fragment; TTL 64; no checksum, because the packet is never sent.
    header.extend([0, 0, 0x40, 0, 64, protocol.0, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: IpProtocol, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload as u16).to_be_bytes());
    header.extend([protocol.0, 64]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

//! Frames of flows.

use std::net::IpAddr;

use super::{TCP, TestFlow, address};
use crate::shared::{EXPECTS, FRAME, FrameBytes};

const ETHERNET: usize = 14;
/// Source port of flows that need no other one.
pub const SOURCE_PORT: u16 = 40_000;

/// Properties of a frame in addition to its flow.
#[derive(Clone, Copy, Debug)]
pub struct FrameSpec {
    /// Destination MAC address: the NIC's.
    pub to: [u8; 6],
    /// The pod's address.
    pub pod: IpAddr,
    /// Mark that the receiver should see; the source MAC address contains it.
    pub mark: Option<u32>,
}

/// Returns a frame of 64 bytes with a valid IP header.
pub fn frame(flow: &TestFlow, spec: FrameSpec) -> FrameBytes {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&spec.to);
    frame[6..8].copy_from_slice(if spec.mark.is_some() { &EXPECTS } else { &[2, 0] });
    frame[8..12].copy_from_slice(&spec.mark.unwrap_or(1).to_be_bytes());
    let transport = match (address(flow.source), spec.pod) {
        (IpAddr::V4(source), IpAddr::V4(pod)) => {
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            let header = v4(source.octets(), pod.octets(), flow.protocol);
            frame[ETHERNET..ETHERNET + 20].copy_from_slice(&header);
            ETHERNET + 20
        }
        (source, pod) => {
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            let header = v6(octets(source), octets(pod), flow.protocol);
            frame[ETHERNET..ETHERNET + 40].copy_from_slice(&header);
            ETHERNET + 40
        }
    };
    let length = (FRAME - transport) as u16;
    frame[transport..transport + 2].copy_from_slice(&flow.from_port.to_be_bytes());
    frame[transport + 2..transport + 4].copy_from_slice(&flow.port.to_be_bytes());
    if flow.protocol == TCP {
        // Five words of header, ACK.
        if let Some(flags) = frame.get_mut(transport + 12..transport + 14) {
            flags.copy_from_slice(&[0x50, 0x10]);
        }
    } else {
        frame[transport + 4..transport + 6].copy_from_slice(&length.to_be_bytes());
    }
    frame
}

fn v4(source: [u8; 4], pod: [u8; 4], protocol: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((FRAME - ETHERNET) as u16).to_be_bytes());
    header[8..10].copy_from_slice(&[64, protocol]);
    header[12..16].copy_from_slice(&source);
    header[16..].copy_from_slice(&pod);
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    header
}

fn v6(source: [u8; 16], pod: [u8; 16], protocol: u8) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&((FRAME - ETHERNET - 40) as u16).to_be_bytes());
    header[6..8].copy_from_slice(&[protocol, 64]);
    header[8..24].copy_from_slice(&source);
    header[24..].copy_from_slice(&pod);
    header
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{ExpectedVerdict, UDP, bits};

    #[test]
    fn a_frame_is_what_the_stack_accepts() {
        let flow = TestFlow {
            target: 0,
            source: bits([33, 0, 0, 1].into()),
            from_port: SOURCE_PORT,
            protocol: UDP,
            port: 7777,
            verdict: ExpectedVerdict::Miss,
        };
        let spec = FrameSpec {
            to: [2, 0, 0, 0, 0, 2],
            pod: [10, 2, 0, 1].into(),
            mark: Some(0x0001_0002),
        };
        let frame = frame(&flow, spec);
        assert_eq!(frame[6..12], [2, 0xbe, 0, 1, 0, 2]);
        let sum: u32 = frame[14..34]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(frame[36..40], [0x1e, 0x61, 0, 30]);
    }
}

//! Parses a frame: where its headers are, and the fields that flow tables match.

mod fields;

use crate::card::{bits::set, layout};

/// Length of the outer-header section of a match value (`fte_match_set_lyr_2_4`), in bytes.
pub(crate) const OUTER: usize = 64;
/// Length of an Ethernet header without tags, in bytes.
pub(crate) const ETHERNET: usize = 14;
/// Protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP.
pub(crate) const UDP: u8 = 17;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const CUSTOMER_TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

/// The headers of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Outer-header section of the match value.
    pub(crate) fields: [u8; OUTER],
    /// Tag control information of an outermost 802.1Q tag.
    pub(crate) vlan: Option<u16>,
    pub(crate) network: Option<Network>,
    pub(crate) transport: Option<Transport>,
}

/// An IPv4 or IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// 4 or 6.
    pub(crate) version: u8,
    /// Offset of the header.
    pub(crate) start: usize,
    /// Offset of the payload, behind options and extension headers.
    pub(crate) payload: usize,
    /// Offset of the end of the packet, as far as the frame has it. Ethernet padding may follow.
    pub(crate) end: usize,
    /// Protocol of the payload.
    pub(crate) protocol: u8,
    /// Whether the packet is a fragment.
    pub(crate) fragment: bool,
}

/// A TCP or UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transport {
    /// [`TCP`] or [`UDP`].
    pub(crate) protocol: u8,
    /// Offset of the header.
    pub(crate) start: usize,
    /// Offset of the payload.
    pub(crate) payload: usize,
}

impl Network {
    /// Returns the source address.
    pub(crate) fn source(self, frame: &[u8]) -> &[u8] {
        let (at, length) = if self.version == 4 { (12, 4) } else { (8, 16) };
        &frame[self.start + at..self.start + at + length]
    }

    /// Returns the destination address.
    pub(crate) fn destination(self, frame: &[u8]) -> &[u8] {
        let (at, length) = if self.version == 4 { (16, 4) } else { (24, 16) };
        &frame[self.start + at..self.start + at + length]
    }
}

impl Transport {
    /// Returns the source port.
    pub(crate) fn source(self, frame: &[u8]) -> u16 {
        word(frame, self.start)
    }

    /// Returns the destination port.
    pub(crate) fn destination(self, frame: &[u8]) -> u16 {
        word(frame, self.start + 2)
    }
}

/// Returns the big-endian 16-bit number at an offset, or 0 behind the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

/// Parses a frame without FCS. Headers that the frame does not hold completely are absent.
pub(crate) fn parse(frame: &[u8]) -> Headers {
    let mut headers = Headers {
        fields: [0; OUTER],
        vlan: None,
        network: None,
        transport: None,
    };
    if frame.len() < ETHERNET {
        return headers;
    }
    fields::addresses(frame, &mut headers.fields);
    let (ethertype, start) = tags(frame, &mut headers);
    set(
        &mut headers.fields,
        layout::fte_match_set_lyr_2_4::ETHERTYPE,
        ethertype.into(),
    );
    headers.network = match ethertype {
        IPV4 => ipv4(frame, start),
        IPV6 => ipv6(frame, start),
        _ => None,
    };
    if let Some(network) = headers.network {
        fields::network(frame, network, &mut headers.fields);
        headers.transport = transport(frame, network);
    }
    if let Some(transport) = headers.transport {
        fields::transport(frame, transport, &mut headers.fields);
    }
    headers
}

/// Skips up to two tags. Returns the type behind them and the offset of what has that type.
fn tags(frame: &[u8], headers: &mut Headers) -> (u16, usize) {
    let (outermost, control) = (word(frame, 12), word(frame, 14));
    let flag = match outermost {
        CUSTOMER_TAG => layout::fte_match_set_lyr_2_4::CVLAN_TAG,
        SERVICE_TAG => layout::fte_match_set_lyr_2_4::SVLAN_TAG,
        _ => return (outermost, 14),
    };
    if frame.len() < 18 {
        return (outermost, 14);
    }
    headers.vlan = (outermost == CUSTOMER_TAG).then_some(control);
    set(&mut headers.fields, flag, 1);
    set(
        &mut headers.fields,
        layout::fte_match_set_lyr_2_4::FIRST_VID,
        u64::from(control & 0xfff),
    );
    set(
        &mut headers.fields,
        layout::fte_match_set_lyr_2_4::FIRST_PRIO,
        u64::from(control >> 13),
    );
    match word(frame, 16) {
        CUSTOMER_TAG if frame.len() >= 22 => (word(frame, 20), 22),
        ethertype => (ethertype, 18),
    }
}

fn ipv4(frame: &[u8], start: usize) -> Option<Network> {
    let header = frame.get(start..start + 20)?;
    let payload = start + usize::from(header[0] & 15) * 4;
    if header[0] >> 4 != 4 || payload < start + 20 || payload > frame.len() {
        return None;
    }
    Some(Network {
        version: 4,
        start,
        payload,
        end: end(start, word(header, 2), frame).max(payload),
        protocol: header[9],
        fragment: word(header, 6) & 0x3fff != 0,
    })
}

fn ipv6(frame: &[u8], start: usize) -> Option<Network> {
    let header = frame.get(start..start + 40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let end = end(start + 40, word(header, 4), frame);
    let (mut protocol, mut payload, mut fragment) = (header[6], start + 40, false);
    // Hop-by-hop options, routing header, fragment header, destination options.
    while matches!(protocol, 0 | 43 | 44 | 60) {
        let Some(extension) = frame[..end].get(payload..payload + 8) else {
            break;
        };
        let length = if protocol == 44 {
            8
        } else {
            8 + usize::from(extension[1]) * 8
        };
        if payload + length > end {
            break;
        }
        fragment |= protocol == 44;
        protocol = extension[0];
        payload += length;
    }
    Some(Network {
        version: 6,
        start,
        payload,
        end,
        protocol,
        fragment,
    })
}

/// Returns the end of a packet by its length field.
///
/// The field is 0 in a packet of more than 65535 bytes, which the driver passes for segmentation (BIG TCP).
fn end(start: usize, length: u16, frame: &[u8]) -> usize {
    match usize::from(length) {
        0 => frame.len(),
        length => frame.len().min(start + length),
    }
}

fn transport(frame: &[u8], network: Network) -> Option<Transport> {
    if network.fragment {
        return None;
    }
    let start = network.payload;
    let header = &frame[start..network.end];
    let length = match network.protocol {
        TCP if header.len() >= 20 => usize::from(header[12] >> 4) * 4,
        UDP => 8,
        _ => return None,
    };
    let least = if network.protocol == TCP { 20 } else { 8 };
    (length >= least && length <= header.len()).then_some(Transport {
        protocol: network.protocol,
        start,
        payload: start + length,
    })
}

#[cfg(test)]
mod tests;

//! Builds frames byte by byte: no library builds the wrong ones.

use std::net::IpAddr;

/// A frame before it is written, so that any field can be changed.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) to_mac: [u8; 6],
    pub(super) from_mac: [u8; 6],
    /// Tag type and contents, from the outside.
    pub(super) tags: Vec<[u16; 2]>,
    pub(super) ethertype: Option<u16>,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) ttl: u8,
    /// The IPv4 header's identification, and the end of IPv6's flow label.
    pub(super) id: u16,
    /// IPv4 options.
    pub(super) options: Vec<u8>,
    /// IPv4's flags and fragment offset.
    pub(super) fragment: u16,
    /// IPv6 extension headers: type, and bytes whose first is the next header.
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
    pub(super) protocol: u8,
    pub(super) upper: Vec<u8>,
    pub(super) first_byte: Option<u8>,
    pub(super) more_length: i16,
    pub(super) bad_header_checksum: bool,
    pub(super) truncated: usize,
    pub(super) padding: usize,
    /// Offset and value of changed bytes.
    pub(super) bytes: Vec<(usize, u8)>,
}

/// The traffic class of all frames, by which truncated ones are recognised.
pub(super) const TOS: u8 = 0x14;
/// The beginning of the flow label of all frames.
pub(super) const LABEL: u8 = 5;

impl Draft {
    /// Returns the frame.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = [self.to_mac, self.from_mac].concat();
        for [kind, contents] in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(contents.to_be_bytes());
        }
        let own = if self.from.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend(self.ethertype.unwrap_or(own).to_be_bytes());
        frame.extend(match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4(from.octets(), to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.v6(from.octets(), to.octets()),
            (from, to) => panic!("{from} and {to} are of two families"),
        });
        frame.resize(frame.len() + self.padding, 0xaa);
        frame.truncate(frame.len().saturating_sub(self.truncated).max(14));
        for (offset, value) in &self.bytes {
            if let Some(byte) = frame.get_mut(*offset) {
                *byte = *value;
            }
        }
        frame
    }

    fn v4(&self, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = (header + self.upper.len()) as u16;
        let [l0, l1] = length.wrapping_add_signed(self.more_length).to_be_bytes();
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = self.fragment.to_be_bytes();
        let first = self.first_byte.unwrap_or(0x40 | (header / 4) as u8);
        let mut packet = vec![first, TOS, l0, l1, i0, i1, f0, f1, self.ttl, self.protocol, 0, 0];
        packet.extend(from);
        packet.extend(to);
        packet.extend(&self.options);
        let sum = !sum(&[&packet]) ^ u16::from(self.bad_header_checksum);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(&self.upper);
        packet
    }

    fn v6(&self, from: [u8; 16], to: [u8; 16]) -> Vec<u8> {
        let mut rest = self.upper.clone();
        let mut next = self.protocol;
        for (kind, bytes) in self.extensions.iter().rev() {
            let mut header = bytes.clone();
            header[0] = next;
            next = *kind;
            rest.splice(0..0, header);
        }
        let [l0, l1] = (rest.len() as u16)
            .wrapping_add_signed(self.more_length)
            .to_be_bytes();
        let [i0, i1] = self.id.to_be_bytes();
        let first = self.first_byte.unwrap_or(0x60 | TOS >> 4);
        let mut packet = vec![first, TOS << 4 | LABEL, i0, i1, l0, l1, next, self.ttl];
        packet.extend(from);
        packet.extend(to);
        packet.extend(rest);
        packet
    }
}

/// Returns the Internet checksum before its complement is taken.
pub(super) fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for pair in parts.concat().chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Returns the pseudo header of a checksum.
pub(super) fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let octets = |ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut bytes = [octets(from), octets(to)].concat();
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

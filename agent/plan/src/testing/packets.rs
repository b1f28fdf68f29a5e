//! Packets that are built from a description, so that their fields are known without parsing.

mod random;

use std::net::IpAddr;

pub use random::packet;

/// The description of a frame.
#[derive(Clone, Debug)]
pub struct PacketSpec {
    /// Number of VLAN tags.
    pub tags: usize,
    /// Whether the destination MAC is a multicast address.
    pub group_mac: bool,
    /// Whether the frame is ARP instead of IP.
    pub arp: bool,
    /// Source, of the same family as the destination.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Number of 32-bit words of IPv4 options, up to ten.
    pub options: usize,
    /// IPv6 extension headers: protocol number and additional words.
    pub extensions: Vec<(u8, u8)>,
    /// Whether the packet is a fragment, and which one.
    pub fragment: Fragment,
    /// IP protocol number.
    pub protocol: u8,
    /// First bytes of the transport header, or of a later fragment.
    pub head: [u8; 4],
    /// Number of bytes after `head`.
    pub payload: usize,
    /// Number of bytes of `head` that are left: the IP packet ends there.
    pub short: Option<usize>,
    /// Whether an IPv6 packet has no payload length, and begins with hop-by-hop options.
    pub jumbogram: bool,
    /// Number of bytes after the IP packet.
    pub padding: usize,
    /// Length to which the frame is truncated.
    pub cut: Option<usize>,
}

/// A part of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The whole packet.
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// A later fragment, without the transport header.
    Later,
}

/// The fields of a packet that can be parsed to its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFields {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// IP protocol number; `None` in a fragment that is not the first one.
    pub protocol: Option<u8>,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Length of the IP packet.
    pub ip_len: usize,
    /// Whether the destination MAC is a multicast address.
    pub group_mac: bool,
    /// Whether there are IPv4 options or an IPv6 hop-by-hop header.
    pub options: bool,
    /// Whether the packet is a fragment.
    pub fragment: bool,
}

/// What is known, besides its addresses, of a packet that cannot be parsed to its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnparsedFields {
    /// IP protocol number, if it can be read.
    pub protocol: Option<u8>,
}

impl PacketSpec {
    /// Describes a packet without options. `port` is the destination port, or type and code of ICMP.
    pub const fn plain(source: IpAddr, destination: IpAddr, protocol: u8, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        let is_icmp = matches!(protocol, 1 | 58);
        Self {
            tags: 0,
            group_mac: false,
            arp: false,
            source,
            destination,
            options: 0,
            extensions: Vec::new(),
            fragment: Fragment::Whole,
            protocol,
            head: if is_icmp {
                [high, low, 0, 0]
            } else {
                [0xc0, 1, high, low]
            },
            payload: 4,
            short: None,
            jumbogram: false,
            padding: 0,
            cut: None,
        }
    }

    /// Builds the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
        frame[0] |= u8::from(self.group_mac);
        for tag in 0..self.tags {
            let ethertype = if tag == 0 && self.tags == 2 {
                0x88a8_u16
            } else {
                0x8100
            };
            frame.extend(ethertype.to_be_bytes());
            frame.extend([0, 7]);
        }
        frame.extend(self.ethertype().to_be_bytes());
        frame.extend(self.ip());
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    /// Whether the stack would read the addresses.
    fn has_addresses(&self) -> bool {
        let mapped = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        let length = if self.is_jumbogram() { 40 } else { self.ip().len() };
        let needed = 14 + 4 * self.tags + length;
        self.tags <= 2
            && !self.arp
            && !mapped(self.source)
            && !mapped(self.destination)
            && self.cut.is_none_or(|cut| cut >= needed)
    }

    fn is_jumbogram(&self) -> bool {
        self.jumbogram && self.destination.is_ipv6()
    }

    /// Returns what is known of a packet that cannot be parsed to its ports. `None` if its addresses cannot
    /// be read, or if all can.
    pub fn unparsed(&self) -> Option<UnparsedFields> {
        if !self.has_addresses() {
            return None;
        }
        let fragment_header = usize::from(self.fragment != Fragment::Whole);
        let too_many = self.destination.is_ipv6() && self.extensions.len() + fragment_header > 6;
        if self.is_jumbogram() || too_many {
            return Some(UnparsedFields { protocol: None });
        }
        let own_icmp = if self.destination.is_ipv4() { 1 } else { 58 };
        let has_header = [6, 17, 132, own_icmp].contains(&self.protocol) && self.fragment != Fragment::Later;
        let is_short = has_header && self.short.is_some_and(|short| short < 4);
        is_short.then_some(UnparsedFields {
            protocol: Some(self.protocol),
        })
    }

    /// Returns the fields, or `None` if the frame cannot be parsed to its ports.
    pub fn fields(&self) -> Option<PacketFields> {
        if !self.has_addresses() || self.unparsed().is_some() {
            return None;
        }
        let ip_len = self.ip().len();
        let later = self.fragment == Fragment::Later;
        let [a, b, c, d] = self.head;
        let has_ports = matches!(self.protocol, 6 | 17 | 132) && !later;
        let own_icmp = if self.destination.is_ipv4() { 1 } else { 58 };
        Some(PacketFields {
            source: self.source,
            destination: self.destination,
            protocol: (!later).then_some(self.protocol),
            ports: has_ports.then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
            icmp: (self.protocol == own_icmp && !later).then_some((a, b)),
            ip_len,
            group_mac: self.group_mac,
            options: if self.destination.is_ipv4() {
                self.options > 0
            } else {
                self.extensions.first().is_some_and(|(kind, _)| *kind == 0)
            },
            fragment: self.fragment != Fragment::Whole,
        })
    }

    fn ethertype(&self) -> u16 {
        match self.destination {
            _ if self.arp => 0x0806,
            IpAddr::V4(_) => 0x0800,
            IpAddr::V6(_) => 0x86dd,
        }
    }

    fn ip(&self) -> Vec<u8> {
        let mut body = self.head.to_vec();
        body.extend(std::iter::repeat_n(0xdd, self.payload));
        body.truncate(self.short.unwrap_or(usize::MAX));
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(source.octets(), destination.octets(), &body)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(source.octets(), destination.octets(), &body)
            }
            _ => panic!("source and destination of one family"),
        }
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4], body: &[u8]) -> Vec<u8> {
        let length = 20 + 4 * self.options + body.len();
        let fragment: u16 = match self.fragment {
            Fragment::Whole => 0x4000,
            Fragment::First => 0x2000,
            Fragment::Later => 0x2001,
        };
        let mut ip = vec![0x45 + self.options as u8, 0];
        ip.extend((length as u16).to_be_bytes());
        ip.extend([0, 9]);
        ip.extend(fragment.to_be_bytes());
        ip.extend([64, self.protocol, 0, 0]);
        ip.extend(source);
        ip.extend(destination);
        ip.extend(std::iter::repeat_n(1, 4 * self.options));
        ip.extend(body);
        ip
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16], body: &[u8]) -> Vec<u8> {
        let mut chain: Vec<(u8, Vec<u8>)> = self.extensions.iter().copied().map(extension).collect();
        match self.fragment {
            Fragment::Whole => {}
            Fragment::First => chain.push((44, vec![0, 0, 0, 1, 0, 0, 0, 9])),
            Fragment::Later => chain.push((44, vec![0, 0, 0, 9, 0, 0, 0, 9])),
        }
        if self.jumbogram {
            chain.insert(0, (0, vec![0, 0, 1, 4, 0, 0, 0, 0]));
        }
        let mut rest = body.to_vec();
        let mut next = self.protocol;
        for (number, mut header) in chain.into_iter().rev() {
            header[0] = next;
            header.extend(rest);
            rest = header;
            next = number;
        }
        let mut ip = vec![0x60, 0, 0, 0];
        let length = if self.jumbogram { 0 } else { rest.len() };
        ip.extend((length as u16).to_be_bytes());
        ip.extend([next, 64]);
        ip.extend(source);
        ip.extend(destination);
        ip.extend(rest);
        ip
    }
}

fn extension((number, words): (u8, u8)) -> (u8, Vec<u8>) {
    let unit = if number == 51 { 4 } else { 8 };
    let mut header = vec![0; 8 + unit * usize::from(words)];
    header[1] = words;
    (number, header)
}

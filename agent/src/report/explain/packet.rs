//! The packet to explain.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use xdp_core::{parse::MAX_EXTENSION_HEADERS, tables::Class};

use crate::report::explain::ExplainError;

/// Protocols with a name, by number.
const NAMES: [(u8, &str); 5] = [
    (6, "TCP"),
    (17, "UDP"),
    (132, "SCTP"),
    (1, "ICMP"),
    (58, "ICMPv6"),
];

/// An IP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// 1.
    pub const ICMP: Self = Self(1);
    /// 6.
    pub const TCP: Self = Self(6);
    /// 17.
    pub const UDP: Self = Self(17);
    /// 58.
    pub const ICMPV6: Self = Self(58);
    /// 132.
    pub const SCTP: Self = Self(132);

    /// Whether the protocol has ports that rules can name.
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

impl FromStr for IpProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        let number = named.map(|(number, _)| *number).or_else(|| text.parse().ok());
        number
            .map(Self)
            .ok_or_else(|| "use TCP, UDP, SCTP, ICMP or ICMPv6, or a number up to 255".to_owned())
    }
}

/// A packet: the fields that rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbePacket {
    /// Source address.
    pub from: IpAddr,
    /// Destination address, of the same family.
    pub to: IpAddr,
    /// Protocol number.
    pub protocol: IpProtocol,
    /// Source port, of protocols with ports.
    pub source_port: Option<u16>,
    /// Destination port, of protocols with ports.
    pub port: Option<u16>,
    /// Type and code, of ICMP over IPv4 and `ICMPv6` over IPv6.
    pub message: Option<(u8, u8)>,
    /// IPv6 destination options in front of the transport header.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extension_headers: u8,
    /// Whether the packet ends where the transport header begins.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_zero(headers: &u8) -> bool {
    *headers == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Ports and message type from the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Details {
    pub(crate) source_port: u16,
    pub(crate) port: Option<u16>,
    pub(crate) kind: Option<u8>,
    pub(crate) code: u8,
    pub(crate) extension_headers: u8,
    pub(crate) truncated: bool,
}

impl ProbePacket {
    /// Makes a packet. Fails if the fields contradict each other.
    pub(crate) fn new(
        (from, to): (IpAddr, IpAddr),
        protocol: IpProtocol,
        details: Details,
    ) -> Result<Self, ExplainError> {
        let (from, to) = (from.to_canonical(), to.to_canonical());
        if from.is_ipv4() != to.is_ipv4() {
            return Err(ExplainError::Families { from, to });
        }
        let has_ports = protocol.has_ports();
        if from.is_ipv4() && details.extension_headers != 0 {
            return Err(ExplainError::NoExtensionHeaders { to });
        }
        if has_ports && details.port.is_none() {
            return Err(ExplainError::NoPort { protocol });
        }
        if !has_ports && details.port.is_some() {
            return Err(ExplainError::HasNoPorts { protocol });
        }
        Ok(Self {
            from,
            to,
            protocol,
            source_port: has_ports.then_some(details.source_port),
            port: details.port,
            message: message(from.is_ipv4(), protocol, details)?,
            extension_headers: details.extension_headers,
            truncated: details.truncated,
        })
    }

    /// Returns the columns that the packet may belong to if it cannot be parsed ([`Class::drops`]).
    pub(crate) const fn columns(&self) -> u16 {
        if self.to.is_ipv6() && self.extension_headers as u32 > MAX_EXTENSION_HEADERS {
            return Class::ANY_V6;
        }
        match self.protocol {
            IpProtocol::TCP => Class::TCP,
            IpProtocol::UDP => Class::UDP,
            IpProtocol::SCTP => Class::SCTP,
            IpProtocol::ICMP => Class::ICMP,
            IpProtocol::ICMPV6 => Class::ICMPV6,
            _ => Class::PORTLESS,
        }
    }

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

fn message(v4: bool, protocol: IpProtocol, details: Details) -> Result<Option<(u8, u8)>, ExplainError> {
    let (own, echo, family) = if v4 {
        (IpProtocol::ICMP, 8, "IPv4")
    } else {
        (IpProtocol::ICMPV6, 128, "IPv6")
    };
    if protocol == own {
        return Ok(Some((details.kind.unwrap_or(echo), details.code)));
    }
    match details.kind {
        None => Ok(None),
        Some(_) => Err(ExplainError::HasNoTypes {
            protocol,
            family,
            instead: own,
        }),
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

impl fmt::Display for ProbePacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from, to, protocol, ..
        } = self;
        match (self.source_port, self.port, self.message) {
            (Some(source), Some(port), _) => {
                write!(f, "{protocol} from {from} port {source} to {to} port {port}")
            }
            (_, _, Some((kind, code))) => write!(f, "{protocol} type {kind} code {code} from {from} to {to}"),
            _ => write!(f, "{protocol} from {from} to {to}"),
        }?;
        if self.extension_headers != 0 {
            write!(f, ", behind {} extension headers", self.extension_headers)?;
        }
        if self.truncated {
            f.write_str(", without its header")?;
        }
        Ok(())
    }
}

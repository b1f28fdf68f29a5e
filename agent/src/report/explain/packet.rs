//! The packet to explain.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use xdp_core::{parse::MAX_EXTENSION_HEADERS, tables::Class};

use crate::report::explain::{ExplainError, IpProtocol};

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

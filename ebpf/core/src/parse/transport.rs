//! TCP, UDP, SCTP, ICMP and ICMPv6, as far as rules can ask about them.

use super::{Bytes, IpBytes, Unparsed};

/// IP protocol numbers with a meaning for rules.
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const SCTP: u8 = 132;
}

/// What the transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, UDP or SCTP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP in IPv4 or ICMPv6 in IPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// A protocol without ports.
    Other,
    /// A fragment that is not the first one has no transport header.
    LaterFragment,
}

/// Reads four bytes and no more. A first fragment may cut a TCP header short; if that were an error, a sender could
/// have its packets passed by a rule that drops them, and the stack would put them together again.
#[inline(always)]
pub(super) fn parse<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    offset: usize,
    protocol: u8,
    icmp: u8,
) -> Result<Transport, Unparsed> {
    let ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    if !ports && protocol != icmp {
        return Ok(Transport::Other);
    }
    let [a, b, c, d] = ip.read(offset)?;
    Ok(if ports {
        Transport::Ports {
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
        }
    } else {
        Transport::Icmp { kind: a, code: b }
    })
}

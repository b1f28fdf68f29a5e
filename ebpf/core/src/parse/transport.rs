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

/// A [`Transport`] as numbers: what compilers make of enums that share bytes is more than the verifier can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upper {
    pub(super) kind: Kind,
    /// The first four bytes, in network order; zero where there is nothing to read.
    pub(super) word: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Ports,
    Icmp,
    Other,
    LaterFragment,
}

impl Upper {
    pub(super) const LATER_FRAGMENT: Self = Self {
        kind: Kind::LaterFragment,
        word: 0,
    };

    pub(super) const fn decode(self) -> Transport {
        let [a, b, c, d] = self.word.to_be_bytes();
        match self.kind {
            Kind::Ports => Transport::Ports {
                source: u16::from_be_bytes([a, b]),
                destination: u16::from_be_bytes([c, d]),
            },
            Kind::Icmp => Transport::Icmp { kind: a, code: b },
            Kind::Other => Transport::Other,
            Kind::LaterFragment => Transport::LaterFragment,
        }
    }
}

/// Reads four bytes and no more. A first fragment may cut a TCP header short; if that were an error, a sender could
/// have its packets passed by a rule that drops them, and the stack would put them together again.
#[inline(always)]
pub(super) fn parse<B: Bytes + ?Sized>(
    ip: &IpBytes<'_, B>,
    offset: usize,
    protocol: u8,
    icmp: u8,
) -> Result<Upper, Unparsed> {
    let kind = match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => Kind::Ports,
        _ if protocol == icmp => Kind::Icmp,
        _ => {
            return Ok(Upper {
                kind: Kind::Other,
                word: 0,
            });
        }
    };
    let word = u32::from_be_bytes(ip.read(offset)?);
    Ok(Upper { kind, word })
}

//! The fields of TCP, UDP, SCTP, ICMP and ICMPv6 headers that rules can match.

use super::{Bytes, IpBytes};
use crate::{events::Unparsed, tables::Class};

/// IP protocol numbers that rules can match.
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// Internet Control Message Protocol of IPv6.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}

/// The fields of a transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportHeader {
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
    /// A later fragment, which has no transport header.
    LaterFragment,
    /// The transport header cannot be read, or not even found.
    Unparsed(Unparsed),
}

/// A [`TransportHeader`] as numbers: compiled code for enums whose variants share bytes is too complex for
/// the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upper {
    pub(super) kind: UpperKind,
    /// The first four bytes, in network order; zero if there are none. For [`UpperKind::Unparsed`] the
    /// reason in the upper half, and in the lower half the columns that are possible ([`Class::drops`]).
    pub(super) word: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum UpperKind {
    Ports,
    Icmp,
    Other,
    LaterFragment,
    Unparsed,
}

impl Upper {
    pub(super) const LATER_FRAGMENT: Self = Self {
        kind: UpperKind::LaterFragment,
        word: 0,
    };

    /// Returns what is known of a transport header that cannot be read.
    #[inline(always)]
    pub(super) const fn unparsed(reason: Unparsed, columns: u16) -> Self {
        Self {
            kind: UpperKind::Unparsed,
            word: reason.code() << 16 | columns as u32,
        }
    }

    /// Returns why the transport header cannot be read.
    pub(super) fn reason(self) -> Option<Unparsed> {
        let reason = |unparsed: &Unparsed| unparsed.code() == self.word >> 16;
        if matches!(self.kind, UpperKind::Unparsed) {
            Unparsed::ALL.into_iter().find(reason)
        } else {
            None
        }
    }

    pub(super) fn decode(self) -> TransportHeader {
        let [a, b, c, d] = self.word.to_be_bytes();
        match self.kind {
            UpperKind::Ports => TransportHeader::Ports {
                source: u16::from_be_bytes([a, b]),
                destination: u16::from_be_bytes([c, d]),
            },
            UpperKind::Icmp => TransportHeader::Icmp { kind: a, code: b },
            UpperKind::Other => TransportHeader::Other,
            UpperKind::LaterFragment => TransportHeader::LaterFragment,
            UpperKind::Unparsed => TransportHeader::Unparsed(self.reason().unwrap_or(Unparsed::Short)),
        }
    }
}

/// Reads only four bytes. A first fragment may cut a TCP header short. If that were an error, such packets
/// would bypass a rule that drops them, and the stack would reassemble them.
#[inline(always)]
pub(super) fn parse<B: Bytes + ?Sized>(ip: &IpBytes<'_, B>, offset: usize, protocol: u8, icmp: u8) -> Upper {
    let kind = match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => UpperKind::Ports,
        _ if protocol == icmp => UpperKind::Icmp,
        _ => {
            return Upper {
                kind: UpperKind::Other,
                word: 0,
            };
        }
    };
    match ip.read(offset) {
        Ok(word) => Upper {
            kind,
            word: u32::from_be_bytes(word),
        },
        Err(reason) => Upper::unparsed(reason, column(protocol)),
    }
}

/// Returns the column of a protocol with ports or types.
#[inline(always)]
const fn column(protocol: u8) -> u16 {
    match protocol {
        protocol::TCP => Class::TCP,
        protocol::UDP => Class::UDP,
        protocol::SCTP => Class::SCTP,
        protocol::ICMP => Class::ICMP,
        _ => Class::ICMPV6,
    }
}

//! IP protocols, by name and by number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

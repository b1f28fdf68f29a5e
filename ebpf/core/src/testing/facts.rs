//! The properties of a packet that a verdict depends on.

use crate::events::Unparsed;

/// The properties of a packet to the pod.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a packet")]
pub struct PacketFacts {
    /// Whether the packet is IPv6.
    pub v6: bool,
    /// Source address. IPv4 uses the last four bytes.
    pub source: u128,
    /// Number of VLAN tags.
    pub tags: usize,
    /// Protocol number and VLAN id of each tag; zero if there is none.
    pub vlans: [(u16, u16); 2],
    /// Destination MAC address.
    pub mac: u64,
    /// Whether the destination MAC address is a multicast or broadcast one.
    pub group_mac: bool,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Whether there are IPv4 options or an IPv6 hop-by-hop header.
    pub options: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// Ports; for ICMP type and code, and two more bytes.
    pub l4: (u16, u16),
    /// TCP flags. `None` if the TCP header is malformed.
    pub tcp_flags: Option<u8>,
    /// Whether this is an IP fragment.
    pub fragment: bool,
    /// Whether this is a fragment other than the first.
    pub later_fragment: bool,
    /// Length of the IP packet.
    pub ip_len: usize,
    /// Why the transport header cannot be read, and whether `protocol` is its protocol.
    pub unparsed: Option<(Unparsed, bool)>,
}

impl PacketFacts {
    /// Whether the packet has ports.
    pub fn has_ports(&self) -> bool {
        [6, 17, 132].contains(&self.protocol) && !self.later_fragment && self.unparsed.is_none()
    }

    /// Returns type and code of an ICMP message.
    pub fn icmp(&self) -> Option<[u8; 2]> {
        let own = if self.v6 { 58 } else { 1 };
        let has_type = self.protocol == own && !self.later_fragment && self.unparsed.is_none();
        has_type.then(|| self.l4.0.to_be_bytes())
    }

    /// Whether the packet is control traffic, which no rule matches.
    pub fn is_control(&self) -> bool {
        let dhcp = if self.v6 { [546, 547] } else { [67, 68] };
        let is_dhcp = self.protocol == 17 && self.has_ports();
        (is_dhcp && dhcp.contains(&self.l4.0) && dhcp.contains(&self.l4.1))
            || (self.v6 && self.icmp().is_some_and(|[kind, _]| (133..=137).contains(&kind)))
    }
}

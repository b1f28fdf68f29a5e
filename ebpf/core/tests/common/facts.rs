//! What a verdict depends on.
#![allow(dead_code, reason = "each test uses a part")]

/// About one packet to the pod.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a packet")]
pub(crate) struct Facts {
    pub(crate) v6: bool,
    /// Of which an IPv4 packet uses the last four bytes.
    pub(crate) source: u128,
    pub(crate) tags: usize,
    pub(crate) group_mac: bool,
    pub(crate) protocol: u8,
    /// Ports; or type and code and two bytes.
    pub(crate) l4: (u16, u16),
    /// `None`: what should be a TCP header is none.
    pub(crate) tcp_flags: Option<u8>,
    pub(crate) fragment: bool,
    pub(crate) later_fragment: bool,
    pub(crate) ip_len: usize,
}

impl Facts {
    pub(crate) fn has_ports(&self) -> bool {
        [6, 17, 132].contains(&self.protocol) && !self.later_fragment
    }

    /// Type and code.
    pub(crate) fn icmp(&self) -> Option<[u8; 2]> {
        let own = if self.v6 { 58 } else { 1 };
        (self.protocol == own && !self.later_fragment).then(|| self.l4.0.to_be_bytes())
    }

    pub(crate) fn is_control(&self) -> bool {
        let dhcp = if self.v6 { [546, 547] } else { [67, 68] };
        let is_dhcp = self.protocol == 17 && self.has_ports();
        (is_dhcp && dhcp.contains(&self.l4.0) && dhcp.contains(&self.l4.1))
            || (self.v6 && self.icmp().is_some_and(|[kind, _]| (133..=137).contains(&kind)))
    }
}

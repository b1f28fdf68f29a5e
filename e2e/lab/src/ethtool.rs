//! Offloads of interfaces, by ioctl.

use std::net::UdpSocket;

use crate::{LabError, Namespace, sys};

// include/uapi/linux/ethtool.h
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;

impl Namespace {
    /// Returns whether GRO is on.
    pub fn gro(&self, interface: &str) -> Result<bool, LabError> {
        self.ethtool(interface, "ETHTOOL_GGRO", ETHTOOL_GGRO, 0)
            .map(|value| value != 0)
    }

    /// Switches GRO on or off. The other end of a veth pair gets `ndo_xdp_xmit` only if GRO is switched on
    /// while this end is up.
    pub fn set_gro(&self, interface: &str, on: bool) -> Result<(), LabError> {
        self.ethtool(interface, "ETHTOOL_SGRO", ETHTOOL_SGRO, on.into())
            .map(drop)
    }

    /// Switches transmit checksum offload on or off.
    pub fn set_tx_checksum_offload(&self, interface: &str, on: bool) -> Result<(), LabError> {
        self.ethtool(interface, "ETHTOOL_STXCSUM", ETHTOOL_STXCSUM, on.into())
            .map(drop)
    }

    fn ethtool(
        &self,
        interface: &str,
        request: &'static str,
        command: u32,
        value: u32,
    ) -> Result<u32, LabError> {
        // Any socket of the namespace will do.
        self.run(|| sys::ethtool(&UdpSocket::bind("[::]:0")?, interface, command, value))?
            .map_err(|source| LabError::Ethtool {
                namespace: self.name().to_owned(),
                interface: interface.to_owned(),
                request,
                source,
            })
    }
}

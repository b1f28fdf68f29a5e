//! What a veth needs to be as good a wire as a real one.

use std::os::fd::AsRawFd;

use netlink_packet_route::link::{LinkAttribute, LinkXdp};

use crate::{
    LabError, Namespace,
    bpf::{
        Pass, {self},
    },
    netlink::{Netlink, link_change},
};

/// As in `include/uapi/linux/if_link.h`.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

impl Namespace {
    /// From now on this end of a veth pair gets what a program at the other end sends back (`XDP_TX`). The driver wakes
    /// the receiver of such frames only if that has a program too (`veth_xdp_flush` in drivers/net/veth.c, Linux 6.18);
    /// this one passes everything.
    pub fn take_answers(&self, interface: &str) -> Result<(), LabError> {
        let program = bpf::load(Pass::Xdp).map_err(|source| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: "load an XDP program".to_owned(),
            source,
        })?;
        let index = self.interface(interface)?.index;
        let xdp = vec![
            LinkXdp::Fd(program.as_raw_fd()),
            LinkXdp::Flags(XDP_FLAGS_DRV_MODE),
        ];
        let message = link_change(index, vec![LinkAttribute::Xdp(xdp)]);
        Netlink::open(self)?.set_link(&format!("attach a program to `{interface}`"), message)
    }
}

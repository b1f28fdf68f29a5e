//! What a veth pair needs to receive frames that an XDP program sends back.

use std::os::fd::AsRawFd;

use netlink_packet_route::link::{LinkAttribute, LinkXdp};

use crate::{
    LabError, Namespace,
    bpf::{
        ProgramType, XDP_FLAGS_DRV_MODE, {self},
    },
    netlink::{Netlink, link_change},
};

impl Namespace {
    /// Makes this end of a veth pair receive the frames that a program at the other end sends back
    /// (`XDP_TX`).
    ///
    /// The driver wakes the receiver of such frames only if it has a program too (`veth_xdp_flush` in
    /// drivers/net/veth.c, Linux 6.18). This attaches one that passes every packet.
    pub fn receive_xdp_tx(&self, interface: &str) -> Result<(), LabError> {
        let program = bpf::load_pass(ProgramType::Xdp).map_err(|source| LabError::Netlink {
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

//! Programs on interfaces: one that a veth pair needs to receive frames that are sent back, and any that a
//! driver may refuse.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkXdp},
};

use crate::{
    LabError, Namespace,
    bpf::{
        ProgramType, XDP_FLAGS_DRV_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST, {self},
    },
    netlink::{Netlink, link_change},
};

/// The kernel's refusal of an XDP program.
#[derive(Debug, thiserror::Error)]
#[error("{source}: {text}")]
pub struct XdpRefusal {
    /// Cause.
    #[source]
    pub source: io::Error,
    /// The text of the driver or of the kernel (the extended acknowledgement); empty if there is none.
    pub text: String,
}

impl Namespace {
    /// Attaches an XDP program in native mode where there is none, without a link: it stays attached when it
    /// is closed.
    pub fn attach_xdp(
        &self,
        interface: &str,
        program: impl AsFd,
    ) -> Result<Result<(), XdpRefusal>, LabError> {
        self.set_xdp(
            interface,
            program.as_fd().as_raw_fd(),
            XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST,
        )
    }

    /// Detaches the XDP program that [`attach_xdp`](Self::attach_xdp) attached.
    pub fn detach_xdp(&self, interface: &str) -> Result<Result<(), XdpRefusal>, LabError> {
        self.set_xdp(interface, -1, XDP_FLAGS_DRV_MODE)
    }

    fn set_xdp(&self, interface: &str, program: i32, flags: u32) -> Result<Result<(), XdpRefusal>, LabError> {
        let index = self.interface(interface)?.index;
        let xdp = vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)];
        let message = RouteNetlinkMessage::SetLink(link_change(index, vec![LinkAttribute::Xdp(xdp)]));
        let answer = Netlink::open(self)?
            .explained(message)
            .map_err(self.socket_failed("ask for an XDP program"))?;
        Ok(answer.map_err(|(source, text)| XdpRefusal { source, text }))
    }

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

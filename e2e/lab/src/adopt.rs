//! Interfaces from outside the lab, such as a machine's NIC.

use std::{io, os::fd::AsRawFd};

use netlink_packet_route::link::LinkAttribute;

use crate::{
    LabError, LabInterface, Namespace,
    netlink::{Netlink, link_change},
};

impl Namespace {
    /// Moves an interface of the calling thread's namespace into this one. It loses its addresses and goes
    /// down.
    ///
    /// When the namespace ends, the kernel returns a physical interface to the initial namespace, and deletes
    /// a virtual one (`default_device_exit_net` in net/core/dev.c, Linux 6.12).
    pub fn adopt(&self, interface: &str) -> Result<LabInterface, LabError> {
        let mut outside = Netlink::open_outside()?;
        let what = format!("move `{interface}` into the namespace `{}`", self.name());
        let Some(link) = outside.link(interface)? else {
            return Err(LabError::Netlink {
                namespace: "outside the lab".to_owned(),
                request: what,
                source: io::Error::from_raw_os_error(libc::ENODEV),
            });
        };
        let inside = self.open()?;
        let attributes = vec![LinkAttribute::NetNsFd(inside.as_raw_fd())];
        outside.set_link(&what, link_change(link.header.index, attributes))?;
        self.interface(interface)
    }
}

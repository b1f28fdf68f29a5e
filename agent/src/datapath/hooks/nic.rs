//! The XDP program on a NIC: in the driver, by a pinned link, or, where the administrator allows it, in generic mode.

use xdp_plan::hook::Hook;

use crate::datapath::{
    Datapath,
    error::{AttachError, AttachStep},
    hooks::link::{
        Attached, Place, {self},
    },
    kernel::sys::{
        AttachMode, LinkKind, {self},
    },
};

impl Datapath {
    /// Attaches to a NIC of the host, or adopts what is attached. A foreign program is never touched: the kernel
    /// refuses with `EBUSY` or `EEXIST`.
    pub fn attach_nic(&self, ifindex: u32) -> Result<Attached, AttachError> {
        self.attach_xdp(ifindex, AttachMode::Driver)
    }

    /// The same for a NIC whose driver has no XDP. A program that is attached keeps its mode.
    pub fn attach_generic(&self, ifindex: u32) -> Result<Attached, AttachError> {
        self.attach_xdp(ifindex, AttachMode::Generic)
    }

    fn attach_xdp(&self, ifindex: u32, mode: AttachMode) -> Result<Attached, AttachError> {
        let place = Place {
            pin: &self.pinned.pins.link(Hook::Nic, ifindex),
            kind: LinkKind::Xdp { ifindex },
            ifindex,
        };
        let program = self.programs.loaded(Hook::Nic);
        let program = program.map_err(AttachError::at(AttachStep::Load, ifindex))?;
        link::attach(&place, program, || {
            sys::link_create_xdp(program.fd(), ifindex, mode)
                .map_err(AttachError::at(AttachStep::Create, ifindex))
        })
    }
}

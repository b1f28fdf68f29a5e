//! The XDP program on a NIC: in the driver, by a pinned link, or, where the administrator allows it, in
//! generic mode.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use xdp_plan::{change::XdpAttach, hook::Hook};

use crate::datapath::{
    Datapath,
    error::{AttachError, AttachStep},
    hooks::link::{
        Attached, Place, {self},
    },
    kernel::{
        refusal::Refusal,
        sys::{
            AttachMode, LinkKind, {self},
        },
    },
};

impl Datapath {
    /// Attaches to a NIC of the host, or adopts what is attached. A foreign program is never touched: the
    /// kernel refuses with `EBUSY` or `EEXIST`.
    pub fn attach_nic(&self, ifindex: u32) -> Result<Attached, AttachError> {
        self.attach_xdp(ifindex, AttachMode::Driver)
    }

    /// Attaches the program in generic mode to a NIC whose driver has no XDP. A program that is attached
    /// keeps its mode.
    pub fn attach_generic(&self, ifindex: u32) -> Result<Attached, AttachError> {
        self.attach_xdp(ifindex, AttachMode::Generic)
    }

    /// Attaches to a NIC in the mode that is allowed.
    pub(in crate::datapath) fn attach_xdp_as(
        &self,
        ifindex: u32,
        mode: XdpAttach,
    ) -> Result<Attached, AttachError> {
        in_mode(mode, |mode| self.attach_xdp(ifindex, mode))
    }

    /// Attaches a program that passes every packet to a NIC without a program of ours. Attaching ours
    /// replaces it.
    pub(in crate::datapath) fn probe_nic(&self, ifindex: u32, mode: XdpAttach) -> Result<(), AttachError> {
        let pass = sys::load_pass().map_err(AttachError::at(AttachStep::Load, ifindex))?;
        let link = in_mode(mode, |mode| create(pass.as_fd(), ifindex, mode))?;
        let pin = self.pinned.pins.probe(ifindex);
        let pinned = match fs::remove_file(&pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sys::pin(link.as_fd(), &pin),
        };
        pinned.map_err(AttachError::at(AttachStep::Pin, ifindex))
    }

    fn attach_xdp(&self, ifindex: u32, mode: AttachMode) -> Result<Attached, AttachError> {
        let (pin, probe) = (
            self.pinned.pins.link(Hook::Nic, ifindex),
            self.pinned.pins.probe(ifindex),
        );
        let is_probed = !pin.exists() && probe.exists();
        let place = Place {
            pin: if is_probed { &probe } else { &pin },
            kind: LinkKind::Xdp { ifindex },
            ifindex,
        };
        let program = self.programs.loaded(Hook::Nic);
        let program = program.map_err(AttachError::at(AttachStep::Load, ifindex))?;
        let attached = link::attach(&place, program, || create(program.fd(), ifindex, mode))?;
        if is_probed {
            fs::rename(&probe, &pin).map_err(AttachError::at(AttachStep::Pin, ifindex))?;
        }
        Ok(attached)
    }

    pub(in crate::datapath) fn detach_probe(&self, ifindex: u32) -> Result<bool, AttachError> {
        let probe = self.pinned.pins.probe(ifindex);
        link::detach(&probe).map_err(AttachError::at(AttachStep::Detach, ifindex))
    }
}

/// Creates the link. An error has the kernel's words, if there are any.
fn create(program: BorrowedFd<'_>, ifindex: u32, mode: AttachMode) -> Result<OwnedFd, AttachError> {
    let refusal = Refusal::record();
    sys::link_create_xdp(program, ifindex, mode).map_err(|source| AttachError {
        kernel_text: refusal.text(ifindex),
        ..AttachError::at(AttachStep::Create, ifindex)(source)
    })
}

/// Tries the modes that are allowed.
fn in_mode<T>(
    mode: XdpAttach,
    attach: impl Fn(AttachMode) -> Result<T, AttachError>,
) -> Result<T, AttachError> {
    match mode {
        XdpAttach::Generic => attach(AttachMode::Generic),
        XdpAttach::Native => attach(AttachMode::Driver),
        XdpAttach::NativeOrGeneric => match attach(AttachMode::Driver) {
            // Kernels before 6.3 do not say so before.
            Err(error) if error.errno() == libc::EOPNOTSUPP => attach(AttachMode::Generic),
            attached => attached,
        },
    }
}

//! A pinned link: adopted, updated, or created.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use crate::datapath::{
    error::{AttachError, AttachStep},
    kernel::sys::{
        LinkKind, {self},
    },
    programs::loaded::LoadedProgram,
};

/// What an attachment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The attached program is ours already; nothing was touched.
    Adopted,
    /// Another version of our program was attached; it was replaced.
    Updated,
    /// A new attachment.
    Created,
}

/// Where a program is to be attached, and where the link is pinned.
pub(in crate::datapath) struct Place<'a> {
    pub(in crate::datapath) pin: &'a Path,
    pub(in crate::datapath) kind: LinkKind,
    /// For messages.
    pub(in crate::datapath) ifindex: u32,
}

/// Makes `program` the one behind the pinned link; `create` is called when there is no living link.
pub(in crate::datapath) fn attach(
    place: &Place<'_>,
    program: &LoadedProgram,
    create: impl FnOnce() -> Result<OwnedFd, AttachError>,
) -> Result<Attached, AttachError> {
    let inspect = AttachError::at(AttachStep::Inspect, place.ifindex);
    if let Some(link) = open(place.pin).map_err(&inspect)? {
        let info = sys::link_info(&link).map_err(&inspect)?;
        if info.kind == place.kind {
            return replace(place, &link, info.program_id, program);
        }
        // The interface is gone, and the link with it.
        fs::remove_file(place.pin).map_err(&inspect)?;
    }
    let link = create()?;
    sys::pin(link.as_fd(), place.pin).map_err(AttachError::at(AttachStep::Pin, place.ifindex))?;
    verify(place, &link, program)?;
    Ok(Attached::Created)
}

fn replace(
    place: &Place<'_>,
    link: &OwnedFd,
    present: u32,
    program: &LoadedProgram,
) -> Result<Attached, AttachError> {
    let inspect = AttachError::at(AttachStep::Inspect, place.ifindex);
    let present = sys::program_by_id(present).map_err(&inspect)?;
    if program.is(&sys::program_info(&present).map_err(&inspect)?) {
        return Ok(Attached::Adopted);
    }
    sys::link_update(link.as_fd(), program.fd(), present.as_fd())
        .map_err(AttachError::at(AttachStep::Update, place.ifindex))?;
    verify(place, link, program)?;
    Ok(Attached::Updated)
}

fn verify(place: &Place<'_>, link: &OwnedFd, program: &LoadedProgram) -> Result<(), AttachError> {
    let failed = AttachError::at(AttachStep::Verify, place.ifindex);
    let info = sys::link_info(link).map_err(&failed)?;
    if info.kind == place.kind && info.program_id == program.info.id {
        return Ok(());
    }
    Err(failed(io::Error::other(format!("the kernel shows {info:?}"))))
}

/// The pinned object, if there is one.
pub(in crate::datapath) fn open(pin: &Path) -> io::Result<Option<OwnedFd>> {
    match sys::open_pin(pin) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Detaches a pinned link, even if other processes hold it, and removes its pin. Returns whether it was
/// attached: the link of an interface that is gone is not.
pub(in crate::datapath) fn detach(pin: &Path) -> io::Result<bool> {
    let Some(link) = open(pin)? else { return Ok(false) };
    let was_attached = sys::link_info(&link)?.kind.is_attached();
    match sys::link_detach(link.as_fd()) {
        Ok(()) => {}
        // Raw tracepoints and dead links: the pin was all that held them.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::ENOLINK | libc::EINVAL)
            ) => {}
        Err(error) => return Err(error),
    }
    fs::remove_file(pin)?;
    Ok(was_attached)
}

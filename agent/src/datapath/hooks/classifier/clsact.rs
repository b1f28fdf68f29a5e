//! The classifier as a filter of the clsact qdisc, for kernels before 6.6.

use std::{error::Error, io, mem};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{
        NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
        qdisc_detach_program,
    },
};
use xdp_plan::hook::Hook;

use crate::{
    datapath::{hooks::classifier::direction, kernel::sys::Direction},
    node::netlink,
};

/// The first, and fixed, so that a second attachment replaces the first one.
const PRIORITY: u16 = 1;
/// Marks the agent's filters: others may have the same priority.
const HANDLE: u16 = 0x7864;

/// Of two classifiers on one side of an interface, each has its own.
const fn handle(hook: Hook) -> u16 {
    HANDLE + matches!(hook, Hook::PodOut | Hook::NicOut) as u16
}

const fn side(hook: Hook) -> TcAttachType {
    match direction(hook) {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}

/// Whether our filter is on an interface of the calling thread's namespace: deleting the qdisc
/// also deletes the filter.
pub(in crate::datapath) fn is_attached(ifindex: u32, hook: Hook) -> io::Result<bool> {
    let egress = direction(hook) == Direction::Egress;
    let filters = netlink::clsact_filters(ifindex, egress).map_err(io::Error::other)?;
    Ok(filters.contains(&filter(hook)))
}

/// Returns our filter at a hook.
pub(in crate::datapath) const fn filter(hook: Hook) -> netlink::TcFilter {
    netlink::TcFilter {
        priority: PRIORITY,
        handle: handle(hook) as u32,
    }
}

/// Whether a filter is ours, of whichever hook.
pub(in crate::datapath) fn is_ours(filter: netlink::TcFilter) -> bool {
    let handles = u32::from(HANDLE)..=u32::from(HANDLE) + 1;
    filter.priority == PRIORITY && handles.contains(&filter.handle)
}

/// Attaches to an interface of the calling thread's namespace; replaces an earlier version of ours.
pub(in crate::datapath) fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    hook: Hook,
) -> io::Result<()> {
    let (side, handle) = (side(hook), TcHandle::new(0, handle(hook)));
    match qdisc_add_clsact(interface).map_err(io_error) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    let options = TcAttachOptions::Netlink(NlOptions {
        priority: PRIORITY,
        handle,
        classid: None,
    });
    let attached = program
        .attach_with_options(interface, side, options)
        .map_err(io_error);
    let id = match attached {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let earlier = SchedClassifierLink::attached(interface, side, PRIORITY, handle, None)?;
            program.attach_to_link(earlier).map_err(io_error)?
        }
        attached => attached?,
    };
    // Dropped, the link would detach the filter, which must outlive this process.
    mem::forget(program.take_link(id).map_err(io_error)?);
    Ok(())
}

/// Removes our filter from an interface of the calling thread's namespace. Returns whether there was one.
pub(in crate::datapath) fn detach(interface: &str, hook: Hook) -> io::Result<bool> {
    match qdisc_detach_program(interface, side(hook), hook.program()).map_err(io_error) {
        Ok(()) => Ok(true),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The filter, its qdisc, or the interface.
fn is_gone(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(libc::ENODEV)
}

/// The kernel's errno among the causes, or all that is known as text.
fn io_error(error: impl Error + Send + Sync + 'static) -> io::Error {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(found) = as_io_error(error) {
            return match found.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::new(found.kind(), found.to_string()),
            };
        }
        cause = error.source();
    }
    io::Error::other(error)
}

/// aya's transparent variants hide what they hold from [`Error::source`].
fn as_io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let error = match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::TcError(error)) => error,
        _ => error,
    };
    match error.downcast_ref::<TcError>() {
        Some(TcError::IoError(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

//! The raw tracepoint programs that count failed redirects.

use std::{fs, os::fd::AsFd};

use xdp_core::tables::programs;

use crate::datapath::{
    error::OpenError,
    hooks::link,
    kernel::{pins::Pins, sys},
    programs::{Programs, loaded::LoadedProgram},
};

/// Program and kernel tracepoint. `xdp_redirect_map_err` is not among them: it never fires, and Linux 6.18
/// has it no more.
const TRACEPOINTS: [(&str, &str); 3] = [
    (programs::REDIRECT_ERR, "xdp_redirect_err"),
    (programs::DEVMAP_XMIT, "xdp_devmap_xmit"),
    (programs::EXCEPTION, "xdp_exception"),
];

/// Attaches those that are not attached yet.
pub(in crate::datapath) fn attach(pins: &Pins, programs: &mut Programs) -> Result<(), OpenError> {
    for (program, tracepoint) in TRACEPOINTS {
        let loaded = programs.tracepoint(program)?;
        attach_one(pins, &loaded, tracepoint)?;
    }
    Ok(())
}

fn attach_one(pins: &Pins, program: &LoadedProgram, tracepoint: &'static str) -> Result<(), OpenError> {
    let pin = pins.tracepoint(tracepoint);
    let failed = |source| OpenError::Tracepoint { tracepoint, source };
    if let Some(link) = link::open(&pin).map_err(failed)? {
        let present = sys::link_info(&link).and_then(|link| sys::program_by_id(link.program_id));
        let present = present.and_then(sys::program_info);
        if present.is_ok_and(|present| program.is(&present)) {
            return Ok(());
        }
        // A raw tracepoint link cannot be updated.
        fs::remove_file(&pin).map_err(failed)?;
    }
    let link = sys::raw_tracepoint_open(program.fd(), tracepoint).map_err(failed)?;
    sys::pin(link.as_fd(), &pin).map_err(failed)
}

//! Moves a classifier in front of those of other owners.
//!
//! What runs before the agent's program may drop or redirect packets, or end the chain (`TC_ACT_OK`), so that
//! the agent's program does not see them. A tcx link cannot be moved, and the kernel takes a program only
//! once per hook: the old link gets a program that does nothing, a new link gets the program. A reply can go
//! through the stack between these two system calls.

use std::{fs, io, os::fd::AsFd as _};

use crate::datapath::{
    Datapath,
    error::{AttachError, AttachStep},
    hooks::{
        classifier::{Spot, clsact, direction},
        link, read,
    },
    kernel::sys,
};

impl Datapath {
    /// Moves an attached classifier in front of those of other owners. Does nothing if none is attached.
    pub(in crate::datapath) fn move_classifier(&mut self, spot: &Spot<'_>) -> Result<(), AttachError> {
        let at = |step| AttachError::at(step, spot.ifindex);
        match link::open(&spot.tcx).map_err(at(AttachStep::Inspect))? {
            Some(link) => self.move_link(spot, &link)?,
            None if spot.clsact.exists() => self.move_filter(spot)?,
            None => return Ok(()),
        }
        let is_first = spot.run(|| is_first(spot))?;
        if is_first.map_err(at(AttachStep::Inspect))? {
            return Ok(());
        }
        let overtaken = io::Error::other("another program came in front meanwhile");
        Err(at(AttachStep::Move)(overtaken))
    }

    fn move_link(&self, spot: &Spot<'_>, old: &impl std::os::fd::AsFd) -> Result<(), AttachError> {
        let at = |step| AttachError::at(step, spot.ifindex);
        let (inspect, moved) = (at(AttachStep::Inspect), at(AttachStep::Move));
        let program = self.programs.loaded(spot.hook);
        let program = program.map_err(at(AttachStep::Load))?;
        let info = sys::link_info(old).map_err(&inspect)?;
        let present = sys::program_by_id(info.program_id).map_err(&inspect)?;
        let idle = sys::load_next().map_err(at(AttachStep::Load))?;
        sys::link_update(old.as_fd(), idle.as_fd(), present.as_fd()).map_err(&moved)?;
        let create = || sys::link_create_tcx(program.fd(), spot.ifindex, direction(spot.hook));
        let new = match spot.run(create).and_then(|created| created.map_err(&moved)) {
            Ok(new) => new,
            Err(error) => {
                // The program goes on where it was.
                sys::link_update(old.as_fd(), present.as_fd(), idle.as_fd()).map_err(&moved)?;
                return Err(error);
            }
        };
        let pin = || -> io::Result<()> {
            fs::remove_file(&spot.tcx)?;
            sys::pin(new.as_fd(), &spot.tcx)
        };
        pin().map_err(at(AttachStep::Pin))?;
        sys::link_detach(old.as_fd()).map_err(at(AttachStep::Detach))
    }

    /// The kernel runs the newest filter of a priority first. A reply can go through the stack between the
    /// two steps.
    fn move_filter(&mut self, spot: &Spot<'_>) -> Result<(), AttachError> {
        let at = |step| AttachError::at(step, spot.ifindex);
        let detached = spot.run(|| clsact::detach(spot.name, spot.hook))?;
        detached.map_err(at(AttachStep::Detach))?;
        fs::remove_file(&spot.clsact).map_err(at(AttachStep::Pin))?;
        self.attach_filter(spot).map(drop)
    }
}

/// Whether no other program runs before the agent's.
fn is_first(spot: &Spot<'_>) -> io::Result<bool> {
    if spot.tcx.exists() {
        let own = link::open(&spot.tcx)?.map(sys::link_info).transpose()?;
        let first = sys::tcx_programs(spot.ifindex, direction(spot.hook))?;
        return Ok(first.first() == own.map(|info| info.program_id).as_ref());
    }
    Ok(read::filters(spot.ifindex, spot.hook)?.0.is_empty())
}

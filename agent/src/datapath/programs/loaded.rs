//! A loaded program.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::datapath::kernel::sys::{
    ProgramInfo, {self},
};

/// One loaded program.
pub(in crate::datapath) struct Loaded {
    fd: OwnedFd,
    pub(in crate::datapath) info: ProgramInfo,
    /// Those of its maps that are pinned; each load makes new ones of the others, which hold nothing.
    pinned: Vec<u32>,
}

impl Loaded {
    pub(super) fn new(fd: BorrowedFd<'_>, pinned: &BTreeSet<u32>) -> io::Result<Self> {
        let info = sys::program_info(fd)?;
        let maps = info.map_ids.iter().filter(|id| pinned.contains(id));
        Ok(Self {
            fd: fd.try_clone_to_owned()?,
            pinned: maps.copied().collect(),
            info,
        })
    }

    /// Whether `present` is a load of the same instructions over the same tables.
    pub(in crate::datapath) fn is(&self, present: &ProgramInfo) -> bool {
        present.tag == self.info.tag
            && present.map_ids.len() == self.info.map_ids.len()
            && self.pinned.iter().all(|id| present.map_ids.contains(id))
    }

    pub(in crate::datapath) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

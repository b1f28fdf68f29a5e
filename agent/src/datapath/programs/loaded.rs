//! One loaded program, and how it is loaded.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf,
    programs::{ProgramError, RawTracePoint, SchedClassifier, Xdp},
};

use crate::datapath::{
    error::OpenError,
    kernel::sys::{
        ProgramInfo, {self},
    },
};

/// A loaded program.
pub(in crate::datapath) struct LoadedProgram {
    fd: OwnedFd,
    pub(in crate::datapath) info: ProgramInfo,
    /// Ids of its pinned maps. Each load creates the other maps again; they hold no state.
    pinned: Vec<u32>,
}

impl LoadedProgram {
    fn new(fd: BorrowedFd<'_>, pinned: &BTreeSet<u32>) -> io::Result<Self> {
        let info = sys::program_info(fd)?;
        let maps = info.map_ids.iter().filter(|id| pinned.contains(id));
        Ok(Self {
            fd: fd.try_clone_to_owned()?,
            pinned: maps.copied().collect(),
            info,
        })
    }

    /// Returns whether `present` has the same instructions over the same tables.
    pub(in crate::datapath) fn is(&self, present: &ProgramInfo) -> bool {
        present.tag == self.info.tag
            && present.map_ids.len() == self.info.map_ids.len()
            && self.pinned.iter().all(|id| present.map_ids.contains(id))
    }

    pub(in crate::datapath) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Loads a program of the object. `maps` are the ids of the pinned maps.
pub(in crate::datapath) fn load<'a, P>(
    ebpf: &'a mut Ebpf,
    maps: &BTreeSet<u32>,
    name: &'static str,
    load: impl Fn(&mut P) -> Result<(), ProgramError>,
) -> Result<LoadedProgram, OpenError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    P: 'a,
    P: HasFd,
{
    let refused = |source| OpenError::Program {
        program: name,
        source: Box::new(source),
    };
    let program = ebpf
        .program_mut(name)
        .ok_or(OpenError::MissingProgram { program: name })?;
    let program: &mut P = program.try_into().map_err(refused)?;
    let mut loaded = load(program);
    for _ in 1..ATTEMPTS {
        if !loaded.as_ref().is_err_and(is_interrupted) {
            break;
        }
        loaded = load(program);
    }
    loaded.map_err(refused)?;
    let fd = program.program_fd().map_err(refused)?;
    LoadedProgram::new(fd, maps).map_err(|source| refused(ProgramError::IOError(source)))
}

/// How often a program is loaded when the verifier is interrupted, as in libbpf.
const ATTEMPTS: usize = 5;

/// Whether the verifier was interrupted: it gives up when the thread has a signal or another task to handle
/// (`signal_pending` in `do_check`, kernel/bpf/verifier.c).
fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::WouldBlock)
}

/// The file descriptor of a loaded program. aya has no common trait for it.
pub(in crate::datapath) trait HasFd {
    fn program_fd(&self) -> Result<BorrowedFd<'_>, ProgramError>;
}

macro_rules! has_fd {
    ($($name:ty),+) => { $(
        impl HasFd for $name {
            fn program_fd(&self) -> Result<BorrowedFd<'_>, ProgramError> {
                Ok(self.fd()?.as_fd())
            }
        }
    )+ };
}

has_fd!(Xdp, SchedClassifier, RawTracePoint);

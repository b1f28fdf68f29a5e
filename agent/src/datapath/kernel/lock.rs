//! The lock that keeps two agents from writing the same pin directory.

use std::{fs::File, path::Path, thread, time::Duration};

use nix::fcntl::{Flock, FlockArg};

use crate::datapath::error::OpenError;

/// The right to change what is pinned below a directory. The kernel releases it when the process ends.
pub(in crate::datapath) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Locks the directory. `status` holds the lock briefly: retries for 2 s before it gives up.
    pub(in crate::datapath) fn take(directory: &Path) -> Result<Self, OpenError> {
        let mut tries = 0;
        loop {
            match lock(directory, FlockArg::LockExclusiveNonblock)? {
                Some(file) => return Ok(Self { _file: file }),
                None if tries < 200 => thread::sleep(Duration::from_millis(10)),
                None => {
                    return Err(OpenError::Running {
                        path: directory.to_owned(),
                    });
                }
            }
            tries += 1;
        }
    }

    /// Whether an agent holds the lock.
    pub(in crate::datapath) fn is_taken(directory: &Path) -> Result<bool, OpenError> {
        Ok(lock(directory, FlockArg::LockSharedNonblock)?.is_none())
    }
}

fn lock(directory: &Path, kind: FlockArg) -> Result<Option<Flock<File>>, OpenError> {
    let file = File::open(directory).map_err(|source| OpenError::pin("open", directory, source))?;
    match Flock::lock(file, kind) {
        Ok(file) => Ok(Some(file)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(OpenError::pin("lock", directory, errno.into())),
    }
}

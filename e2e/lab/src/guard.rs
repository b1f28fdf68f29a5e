//! A process that outlives this one by a moment and removes the lab: after a panic that aborts, Ctrl-C or SIGKILL.
//!
//! It is a bare fork: between fork and exit it only makes system calls, because another thread of this process may hold
//! any lock at the time of the fork.
#![expect(
    unsafe_code,
    reason = "fork, and system calls that have no safe wrapper usable after it"
)]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, RawFd},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};

use crate::reap::{Reaper, pidfd_open};

/// What the guard is called in process lists.
pub(crate) const NAME: &std::ffi::CStr = c"xdp-lab-guard";

/// The guard of one lab, while it watches.
#[derive(Debug)]
pub(crate) struct Guard {
    pid: Pid,
}

/// What the guard removes: processes, what the lab's own script ends, a mount, the directory it is on, and the lock.
pub(crate) struct Remains {
    pub(crate) processes: Reaper,
    /// Run by a shell if it is there by then.
    pub(crate) script: CString,
    pub(crate) mount: CString,
    pub(crate) lock: CString,
    /// Kept open by the guard, so that nobody else sweeps the lab meanwhile.
    pub(crate) lock_file: RawFd,
}

impl Guard {
    pub(crate) fn start(remains: &mut Remains) -> io::Result<Self> {
        let this = pidfd_open(std::process::id())?;
        // SAFETY: the child only makes system calls, on memory prepared before the fork.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: child }),
            ForkResult::Child => watch(this.as_raw_fd(), remains),
        }
    }

    /// The lab is removed already: the guard has nothing left to do.
    pub(crate) fn dismiss(&self) {
        // It can only be gone if somebody killed it; it stays a zombie until waited for, so the id is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

fn watch(parent: RawFd, remains: &mut Remains) -> ! {
    // SAFETY: system calls on own descriptors and on strings that live as long as this process; `_exit` never returns.
    unsafe {
        // Ctrl-C goes to the foreground process group.
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        // Hold nothing of the parent's open: a pipe's reader would wait for the guard.
        libc::dup2(remains.lock_file, 1);
        libc::dup2(parent, 0);
        libc::close_range(2, libc::c_uint::MAX, 0);
        let mut exit = libc::pollfd {
            fd: 0,
            events: libc::POLLIN,
            revents: 0,
        };
        while libc::poll(&raw mut exit, 1, -1) < 0 {}
        remains.processes.kill_all();
        run(&remains.script);
        libc::umount2(remains.mount.as_ptr(), libc::MNT_DETACH);
        libc::rmdir(remains.mount.as_ptr());
        libc::unlink(remains.lock.as_ptr());
        libc::_exit(0)
    }
}

/// Run a script, unless there is none.
///
/// # Safety
/// Only for a process without other threads.
unsafe fn run(script: &CStr) {
    let shell = c"/bin/sh".as_ptr();
    let arguments = [shell, script.as_ptr(), std::ptr::null()];
    // SAFETY: system calls on strings that live longer than this process; the child goes straight to `execv`.
    unsafe {
        if libc::access(script.as_ptr(), libc::R_OK) != 0 {
            return;
        }
        let child = libc::fork();
        if child == 0 {
            libc::execv(shell, arguments.as_ptr());
            libc::_exit(127);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}

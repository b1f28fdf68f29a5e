//! A process that outlives this one and removes the lab: after a panic that aborts, Ctrl-C or SIGKILL.
//!
//! It is a fork without exec: until it exits it only makes system calls, because another thread may hold any
//! lock at the time of the fork.
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

/// The guard's name in process lists.
pub(crate) const NAME: &CStr = c"xdp-lab-guard";

/// The guard of one lab.
#[derive(Debug)]
pub(crate) struct Guard {
    pid: Pid,
}

/// What the guard removes: processes, whatever the lab's script removes, the mount, its directory, and the
/// lock.
pub(crate) struct Remains {
    pub(crate) processes: Reaper,
    /// A shell script, which may be absent.
    pub(crate) script: CString,
    pub(crate) mount: CString,
    pub(crate) lock: CString,
    /// The guard keeps the lock, so that no other process sweeps the lab meanwhile.
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

    /// Ends the guard of a lab that is already removed.
    pub(crate) fn dismiss(&self) {
        // A killed guard stays a zombie until it is waited for, so the id still belongs to it.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

fn watch(parent: RawFd, remains: &mut Remains) -> ! {
    // SAFETY: system calls on the process's own descriptors and on strings that live as long as the process;
    // `_exit` never returns.
    unsafe {
        // Ctrl-C goes to the foreground process group.
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        // Close the parent's descriptors: a reader of a pipe would wait for the guard.
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

/// Runs a script, if it exists.
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

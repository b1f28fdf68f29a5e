//! Processes under a seccomp filter that reports which system calls it refuses.
#![expect(unsafe_code, reason = "seccomp(2) and its ioctls by hand")]

use std::{
    collections::BTreeSet,
    fs, io,
    mem::zeroed,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    process::lock,
    reap::{check, pidfd_kill, pidfd_open},
};

/// The limit for a process that ends, in milliseconds.
const ENDING: libc::c_int = 20_000;

/// A seccomp filter, and what it has refused to the processes under it.
#[derive(Clone, Debug)]
pub struct SyscallFilter {
    programs: Arc<[Vec<libc::sock_filter>]>,
    refused: Arc<Mutex<BTreeSet<RefusedCall>>>,
}

/// A refused system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedCall {
    /// Its number, on this architecture.
    pub number: i32,
    /// Its first three arguments.
    pub arguments: [u64; 3],
}

impl SyscallFilter {
    /// Combines programs, of which the kernel takes the strictest result. What the last one answers with
    /// `SECCOMP_RET_USER_NOTIF` is refused with `EPERM` and reported. All programs must allow `fcntl` and
    /// `execve`, which the process calls before its report can be received.
    pub fn new(programs: Vec<Vec<libc::sock_filter>>) -> Self {
        Self {
            programs: programs.into(),
            refused: Arc::default(),
        }
    }

    /// Returns what was refused so far.
    pub fn refused(&self) -> Vec<RefusedCall> {
        lock(&self.refused).iter().copied().collect()
    }

    /// Puts the calling process under the filter, for good. The descriptor that receives the reports stays
    /// open across `execve`: the parent finds it there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let Some((last, others)) = self.programs.split_last() else {
            return Ok(());
        };
        for program in others {
            install(program, 0)?;
        }
        let listener = install(last, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
        // SAFETY: no memory is involved.
        check(unsafe { libc::fcntl(listener, libc::F_SETFD, 0) }.into()).map(drop)
    }

    /// Receives the reports of a child that has called [`enter`](Self::enter), until it and all its
    /// descendants have ended.
    pub(crate) fn receive_from(&self, pid: u32) -> io::Result<()> {
        let process = pidfd_open(pid)?;
        let Some(listener) = listener_of(pid, &process)? else {
            return Ok(());
        };
        let refused = Arc::clone(&self.refused);
        thread::spawn(move || {
            loop {
                match next(&listener) {
                    Ok(Some((id, call))) => {
                        lock(&refused).insert(call);
                        refuse(&listener, id);
                    }
                    Ok(None) => return,
                    // Its next refused call would wait for an answer for ever.
                    Err(_) => return drop(pidfd_kill(&process)),
                }
            }
        });
        Ok(())
    }
}

fn install(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<libc::c_int> {
    let header = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_ptr().cast_mut(),
    };
    // As container runtimes do: without it, older kernels make all code of the process slower.
    let flags = flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel reads the header and the instructions, which live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const header,
        )
    };
    check(result).map(|descriptor| descriptor as libc::c_int)
}

/// Copies the descriptor from the child. Returns `None` if the child has ended.
fn listener_of(pid: u32, process: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let is_listener = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:seccomp notify")
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<libc::c_int>().ok();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let found = entries.flatten().find(is_listener).and_then(number);
    let copy = |number: libc::c_int| {
        // SAFETY: no memory is involved.
        let copied = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })?;
        // SAFETY: the kernel has just returned this descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(copied as libc::c_int) })
    };
    let missing = || {
        Err(io::Error::other(
            "the process has closed the listener of its filter",
        ))
    };
    match found.map_or_else(missing, copy) {
        Ok(listener) => Ok(Some(listener)),
        // While a process ends, its descriptors are gone before it is.
        Err(_) if wait_for(process, ENDING)? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until a descriptor can be read or has ended, for a number of milliseconds; -1: without a limit.
fn wait_for(descriptor: &OwnedFd, milliseconds: libc::c_int) -> io::Result<bool> {
    let mut waiting = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        // SAFETY: one entry, as the length says.
        match check(unsafe { libc::poll(&raw mut waiting, 1, milliseconds) }.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(waiting.revents & libc::POLLIN != 0),
        }
    }
}

/// Waits for the next call, and returns it with the kernel's id of the report. Returns `None` after the last
/// process has ended.
fn next(listener: &OwnedFd) -> io::Result<Option<(u64, RefusedCall)>> {
    loop {
        if !wait_for(listener, -1)? {
            return Ok(None);
        }
        // SAFETY: zero is a valid value of every field, and the kernel wants it so.
        let mut report: libc::seccomp_notif = unsafe { zeroed() };
        // SAFETY: the kernel fills in the report, whose size is in the request's number.
        let received = unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut report,
            )
        };
        match check(received.into()) {
            Ok(_) => {
                let [first, second, third, ..] = report.data.args;
                let call = RefusedCall {
                    number: report.data.nr,
                    arguments: [first, second, third],
                };
                return Ok(Some((report.id, call)));
            }
            // The process was killed, or interrupted by a signal, before its report was received.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}

fn refuse(listener: &OwnedFd, id: u64) {
    let answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -libc::EPERM,
        flags: 0,
    };
    // A process that is gone needs no answer.
    // SAFETY: the kernel reads the answer, whose size is in the request's number.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            ptr::from_ref(&answer),
        )
    };
}

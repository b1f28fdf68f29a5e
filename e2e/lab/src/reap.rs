//! Kills the processes of a lab, whatever their parents are.
//!
//! Also used after a fork, where allocation is not allowed: all memory is allocated before, the rest is
//! system calls.
#![expect(
    unsafe_code,
    reason = "system calls that have no safe wrapper usable after a fork"
)]

use std::{
    ffi::{CStr, c_int},
    io::{
        Write, {self},
    },
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Environment variable that marks a lab's processes and their descendants.
pub(crate) const MARK: &str = "XDP_LAB";

/// Passes over all processes: a process may start another during a pass.
const PASSES: u32 = 10;

/// `struct linux_dirent64`: inode and offset, 8 bytes each, length of the record, type, name.
const RECORD_LEN: usize = 16;
const RECORD_NAME: usize = 19;

/// Finds and kills processes with the lab's mark.
pub(crate) struct Reaper {
    /// `NAME=VALUE`, as in an environment.
    mark: Vec<u8>,
    directory: Vec<u8>,
    environment: Vec<u8>,
}

impl Reaper {
    pub(crate) fn new(lab: &str) -> Self {
        Self {
            mark: format!("{MARK}={lab}").into_bytes(),
            directory: vec![0; 32 << 10],
            environment: vec![0; 256 << 10],
        }
    }

    /// Kills until no process is left.
    pub(crate) fn kill_all(&mut self) {
        for _ in 0..PASSES {
            if self.kill_once().unwrap_or(0) == 0 {
                return;
            }
        }
    }

    /// Passes over all processes once, and returns how many it killed.
    fn kill_once(&mut self) -> io::Result<u32> {
        let proc = open(c"/proc", libc::O_DIRECTORY)?;
        let mut killed = 0;
        loop {
            let len = next_entries(&proc, &mut self.directory)?;
            if len == 0 {
                return Ok(killed);
            }
            let mut at = 0;
            while at + RECORD_NAME < len {
                let record = [
                    self.directory[at + RECORD_LEN],
                    self.directory[at + RECORD_LEN + 1],
                ];
                let end = at + usize::from(u16::from_ne_bytes(record));
                if let Some(pid) = number(&self.directory[at + RECORD_NAME..end]) {
                    killed += u32::from(self.kill(pid));
                }
                at = end;
            }
        }
    }

    /// Kills this process if it has the mark.
    fn kill(&mut self, pid: u32) -> bool {
        // The descriptor refers to one process forever: a process that has the mark after it was opened is
        // the right one.
        let Ok(process) = pidfd_open(pid) else {
            return false;
        };
        pid != std::process::id() && self.has_mark(pid).unwrap_or(false) && pidfd_kill(&process).is_ok()
    }

    fn has_mark(&mut self, pid: u32) -> io::Result<bool> {
        let mut path = [0; 32];
        write!(&mut path[..31], "/proc/{pid}/environ")?;
        let path = CStr::from_bytes_until_nul(&path).map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = open(path, 0)?;
        let mut len = 0;
        // The kernel returns a page at a time.
        loop {
            match read(&file, &mut self.environment[len..])? {
                0 => break,
                more => len += more,
            }
        }
        let mut entries = self.environment[..len].split(|byte| *byte == 0);
        Ok(entries.any(|entry| entry == self.mark))
    }
}

/// Parses the name of a directory entry as a number.
fn number(name: &[u8]) -> Option<u32> {
    let name = CStr::from_bytes_until_nul(name).ok()?;
    name.to_str().ok()?.parse().ok()
}

/// Opens a descriptor of exactly this process, readable when it has ended (Linux 5.3).
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Kills exactly the process of the descriptor, and waits until it is gone.
pub(crate) fn pidfd_kill(process: &OwnedFd) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    let fd = process.as_raw_fd();
    // SAFETY: a null `siginfo_t` is allowed (pidfd_send_signal(2)).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, no_info, 0) })?;
    let mut exit = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor, as the count says.
    unsafe { libc::poll(&raw mut exit, 1, 20_000) };
    Ok(())
}

fn open(path: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path ends with a nul byte.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_RDONLY | libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn read(file: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of `buffer`.
    let len = unsafe { libc::read(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(len as i64)
}

fn next_entries(directory: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of `buffer`.
    check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })
}

/// Returns the result of a system call, or its error.
pub(crate) fn check(result: i64) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

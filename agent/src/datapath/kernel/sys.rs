//! The bpf(2) commands that aya lacks, or for which aya falls back where the agent needs the errno.
//!
//! `BPF_LINK_CREATE` for XDP is the important one: aya falls back to netlink on `EINVAL`, which mlx5 returns
//! for a wrong MTU or LRO, and an attachment by netlink can neither be pinned nor replaced by link update.
#![expect(unsafe_code, reason = "raw bpf(2) and membarrier(2) calls")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    thread,
    time::Duration,
};

mod attr;
mod elements;
mod extack;
mod info;
mod programs;

use attr::{LinkCreate, LinkDetach, LinkUpdate, PinnedObject, ProgramById, TracepointOpen};
pub(in crate::datapath) use elements::{BatchCursor, Update, batch, delete, update};
pub(in crate::datapath) use extack::Extack;
pub use info::ProgramStats;
pub(in crate::datapath) use info::{
    LinkInfo, LinkKind, ProgramInfo, accounted, link_info, map_id, map_shape, program_info,
};
pub(crate) use programs::has_tcx;
pub(in crate::datapath) use programs::{load_next, load_pass, tcx_programs};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_BEFORE: u32 = 1 << 3;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_F_REPLACE: u32 = 1 << 2;
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
const LONGER_THAN_ANY_PROGRAM: Duration = Duration::from_secs(1);
/// include/uapi/asm-generic/socket.h
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum AttachMode {
    /// In the driver, before there is an skb.
    Driver,
    /// In the stack, on an skb.
    Generic,
}

/// Attaches an XDP program in this mode to an interface of the calling thread's network namespace. There is
/// no fallback to another mode.
pub(in crate::datapath) fn link_create_xdp(
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: AttachMode,
) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: ifindex,
        attach_type: BPF_XDP,
        flags: match mode {
            AttachMode::Driver => XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => XDP_FLAGS_SKB_MODE,
        },
        ..LinkCreate::default()
    };
    bpf_fd(BPF_LINK_CREATE, &attr)
}

/// The packets of an interface that a classifier sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Direction {
    /// Packets that enter the stack.
    Ingress,
    /// Packets that leave the stack.
    Egress,
}

impl Direction {
    /// Returns the attach type for tcx.
    pub(in crate::datapath) const fn tcx(self) -> u32 {
        match self {
            Self::Ingress => BPF_TCX_INGRESS,
            Self::Egress => BPF_TCX_EGRESS,
        }
    }
}

/// Attaches a classifier by tcx (Linux 6.6) in the calling thread's network namespace, before the other
/// programs.
pub(in crate::datapath) fn link_create_tcx(
    program: BorrowedFd<'_>,
    ifindex: u32,
    direction: Direction,
) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: ifindex,
        attach_type: direction.tcx(),
        flags: BPF_F_BEFORE,
        ..LinkCreate::default()
    };
    bpf_fd(BPF_LINK_CREATE, &attr)
}

/// Replaces the program of a link, if the link still holds `old`.
pub(in crate::datapath) fn link_update(
    link: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> io::Result<()> {
    let attr = LinkUpdate {
        link: link.as_raw_fd() as u32,
        new_program: new.as_raw_fd() as u32,
        flags: BPF_F_REPLACE,
        old_program: old.as_raw_fd() as u32,
    };
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}

/// Detaches a link, even if other processes or pins hold it.
pub(in crate::datapath) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkDetach {
        link: link.as_raw_fd() as u32,
    };
    bpf(BPF_LINK_DETACH, &attr).map(drop)
}

/// Attaches a raw tracepoint program and returns its link (Linux 5.8).
pub(in crate::datapath) fn raw_tracepoint_open(program: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let attr = TracepointOpen {
        name: name.as_ptr() as u64,
        program: program.as_raw_fd() as u32,
        reserved: 0,
    };
    bpf_fd(BPF_RAW_TRACEPOINT_OPEN, &attr)
}

/// Opens the program with this kernel id.
pub(in crate::datapath) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    bpf_fd(
        BPF_PROG_GET_FD_BY_ID,
        &ProgramById {
            id,
            ..ProgramById::default()
        },
    )
}

/// Pins an object in a bpffs.
pub(in crate::datapath) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = PinnedObject {
        path: path.as_ptr() as u64,
        fd: object.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &attr).map(drop)
}

/// Opens the object that is pinned at a path, of any type.
pub(in crate::datapath) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = PinnedObject {
        path: path.as_ptr() as u64,
        ..PinnedObject::default()
    };
    bpf_fd(BPF_OBJ_GET, &attr)
}

/// Waits until every program that is running has returned.
///
/// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu()` (kernel/sched/membarrier.c), and XDP and tc programs run
/// inside RCU read-side sections. Kernels booted with `nohz_full` refuse it (`EINVAL`); there, the call
/// sleeps longer than any program runs.
pub(in crate::datapath) fn fence() -> io::Result<()> {
    // SAFETY: the call takes two integers and accesses no memory of this process.
    if unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        refused if refused.raw_os_error() == Some(libc::EINVAL) => {
            thread::sleep(LONGER_THAN_ANY_PROGRAM);
            Ok(())
        }
        error => Err(error),
    }
}

/// Returns the `SO_NETNS_COOKIE` of the calling thread's network namespace (Linux 5.14).
pub(in crate::datapath) fn netns_cookie() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: value and length live across the call, and the length is the value's.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs a command that returns a new file descriptor.
fn bpf_fd<T: attr::Attribute>(command: libc::c_long, attribute: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attribute)?;
    // SAFETY: the kernel has just made this descriptor for this call; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

fn bpf<T: attr::Attribute>(command: libc::c_long, attribute: &T) -> io::Result<libc::c_long> {
    call(command, std::ptr::from_ref(attribute))
}

/// Runs a command that writes its result into the attributes.
fn bpf_answered<T: attr::Attribute>(command: libc::c_long, attribute: &mut T) -> io::Result<libc::c_long> {
    call(command, std::ptr::from_mut(attribute))
}

fn call<T: attr::Attribute>(command: libc::c_long, attribute: *const T) -> io::Result<libc::c_long> {
    // SAFETY: `Attribute` types have the layout that the kernel expects for their command, without padding,
    // and the callers above hold one, for writing where the command writes; the pointers inside are valid
    // during the call, because their callers hold what they point at.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Fills `buffer` with the kernel's information about an object.
fn object_info<T: attr::Attribute>(object: impl AsFd, buffer: &mut T) -> io::Result<()> {
    let attr = attr::Info {
        fd: object.as_fd().as_raw_fd() as u32,
        len: size_of::<T>() as u32,
        buffer: std::ptr::from_mut(buffer) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attr).map(drop)
}

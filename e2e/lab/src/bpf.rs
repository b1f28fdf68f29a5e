//! The few calls of `bpf(2)` that a lab needs (`include/uapi/linux/bpf.h`).
#![expect(unsafe_code, reason = "no crate beside the agent's loads programs")]

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::sys::check;

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// XDP, in as many parts as a frame may come.
    Xdp,
    /// An interface's classifiers, of which it is not the last.
    Classifier,
}

impl Pass {
    /// `r0 = XDP_PASS; exit`, or `r0 = TCX_NEXT; exit`.
    const fn instructions(self) -> [u64; 2] {
        match self {
            Self::Xdp => [0x0000_0002_0000_00b7, 0x95],
            Self::Classifier => [0xffff_ffff_0000_00b7, 0x95],
        }
    }

    /// `BPF_PROG_TYPE_XDP`, `BPF_PROG_TYPE_SCHED_CLS`.
    const fn kind(self) -> u32 {
        match self {
            Self::Xdp => 6,
            Self::Classifier => 3,
        }
    }

    /// `BPF_F_XDP_HAS_FRAGS`.
    const fn flags(self) -> u32 {
        match self {
            Self::Xdp => 1 << 5,
            Self::Classifier => 0,
        }
    }
}

/// Load a program that lets everything go on.
pub(crate) fn load(pass: Pass) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    /// The first members of `union bpf_attr` for this command.
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
    }
    let program = pass.instructions();
    let load = Load {
        prog_type: pass.kind(),
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: pass.flags(),
    };
    call(BPF_PROG_LOAD, &load)
}

/// Attach a classifier to an interface of the calling thread's namespace, behind those that are there, as long as the
/// answer lives. `attach_type` is `BPF_TCX_INGRESS` or `BPF_TCX_EGRESS`.
pub(crate) fn link_tcx(program: &OwnedFd, ifindex: u32, attach_type: u32) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    /// The same for this one.
    #[repr(C)]
    struct Create {
        prog_fd: u32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
        relative_fd: u32,
        reserved: u32,
        expected_revision: u64,
    }
    let create = Create {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: ifindex,
        attach_type,
        flags: 0,
        relative_fd: 0,
        reserved: 0,
        expected_revision: 0,
    };
    call(BPF_LINK_CREATE, &create)
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: pointer and length are those of `attributes`, whose own pointers are to values that outlive the call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    } as isize)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

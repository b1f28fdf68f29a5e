//! Programs at a hook, and a program that passes everything.

use std::{io, os::fd::OwnedFd};

use crate::datapath::kernel::sys::{
    BPF_PROG_LOAD, BPF_PROG_QUERY, BPF_XDP, Direction,
    attr::{ProgramLoad, ProgramQuery},
    bpf_answered, bpf_fd,
};

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `BPF_MPROG_MAX`: as many programs as one hook takes.
const MAX_PROGRAMS: usize = 64;
/// `r0 = XDP_PASS; exit`, as the kernel's 64-bit instructions.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
/// `r0 = TCX_NEXT; exit`.
const NEXT: [u64; 2] = [0xffff_ffff_0000_00b7, 0x0000_0000_0000_0095];

/// Lists the ids of the programs at a tcx hook of an interface of the calling thread's namespace, in the
/// order in which they run. None on kernels without tcx (before Linux 6.6), and where the interface is gone.
pub(in crate::datapath) fn tcx_programs(ifindex: u32, direction: Direction) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attr = ProgramQuery {
        target: ifindex,
        attach_type: direction.tcx(),
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        ..ProgramQuery::default()
    };
    match bpf_answered(BPF_PROG_QUERY, &mut attr) {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENODEV | libc::ENOENT)
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    }
    ids.truncate(attr.count as usize);
    Ok(ids)
}

/// Returns whether the kernel has tcx (Linux 6.6). Asks about the loopback interface of the calling thread's
/// namespace, which every namespace has.
pub(crate) fn has_tcx() -> bool {
    const LOOPBACK: u32 = 1;
    let mut attr = ProgramQuery {
        target: LOOPBACK,
        attach_type: Direction::Ingress.tcx(),
        ..ProgramQuery::default()
    };
    match bpf_answered(BPF_PROG_QUERY, &mut attr) {
        Ok(_) => true,
        // No program was ever attached there.
        Err(error) => error.raw_os_error() == Some(libc::ENOENT),
    }
}

/// Loads an XDP program that passes every packet.
pub(in crate::datapath) fn load_pass() -> io::Result<OwnedFd> {
    load(BPF_PROG_TYPE_XDP, &PASS, BPF_XDP)
}

/// Loads a classifier that leaves every packet to the next one.
pub(in crate::datapath) fn load_next() -> io::Result<OwnedFd> {
    load(BPF_PROG_TYPE_SCHED_CLS, &NEXT, 0)
}

fn load(kind: u32, instructions: &[u64], expected_attach_type: u32) -> io::Result<OwnedFd> {
    let attr = ProgramLoad {
        kind,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type,
        ..ProgramLoad::default()
    };
    bpf_fd(BPF_PROG_LOAD, &attr)
}

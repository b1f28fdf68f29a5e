//! The calls of bpf(2) that labs, tests and benchmarks make (`include/uapi/linux/bpf.h`).
//!
//! aya hides the errno, the mode or the numbers of these. The agent's own calls are not used: a test with a
//! part of the agent in it would prove nothing about the kernel.
#![expect(unsafe_code, reason = "system calls that no library makes in this way")]

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

const BPF_F_REPLACE: u32 = 1 << 2;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
const BPF_LOG_STATS: u32 = 4;

/// Attach before the other programs of the hook.
pub const BPF_F_BEFORE: u32 = 1 << 3;
/// Attach only where no program is attached.
pub const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
/// Attach in generic mode.
pub const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// Attach in native mode.
pub const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Size of the buffer for the verifier's statistics of one program.
const LOG_LEN: usize = 1 << 16;
/// Packets in one batch of live frames, as many as NAPI polls at once.
const NAPI_POLL_WEIGHT: u32 = 64;

/// `union bpf_attr`: large enough for every command here; unset fields stay zero.
type Attr = [u32; 32];
/// `struct xdp_md`: `data`, `data_end`, `data_meta`, `ingress_ifindex`, `rx_queue_index`, `egress_ifindex`.
type XdpMd = [u32; 6];

/// Where a link attaches a program: `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BpfAttachType {
    /// `BPF_XDP`
    Xdp = 37,
    /// `BPF_TCX_INGRESS`
    TcxIngress = 46,
    /// `BPF_TCX_EGRESS`
    TcxEgress = 47,
}

/// `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    SchedCls = 3,
    /// `BPF_PROG_TYPE_XDP`
    Xdp = 6,
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`
    RawTracepoint = 17,
}

/// The result of one test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The XDP action.
    pub action: u32,
    /// The metadata in front of the packet.
    pub metadata: Vec<u8>,
    /// The packet.
    pub packet: Vec<u8>,
}

/// Creates a link in the calling thread's network namespace. The program stays attached while the link is
/// open.
pub fn link_create(program: impl AsFd, ifindex: u32, to: BpfAttachType, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = Attr::default();
    attr[..4].copy_from_slice(&[raw(&program), ifindex, to as u32, flags]);
    bpf(BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Replaces a link's program, provided that the link still has the program `old`.
pub fn link_update(link: impl AsFd, new: impl AsFd, old: impl AsFd) -> io::Result<()> {
    let mut attr = Attr::default();
    attr[..4].copy_from_slice(&[raw(&link), raw(&new), BPF_F_REPLACE, raw(&old)]);
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Replaces a link's program, whichever it has.
pub fn link_replace(link: impl AsFd, new: impl AsFd) -> io::Result<()> {
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&[raw(&link), raw(&new)]);
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Opens a pinned object.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&pointer(path.as_ptr()));
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Attaches an XDP program in native mode from a child process, which pins the link if there is a path, and
/// exits.
pub fn attach_in_child(program: impl AsFd, ifindex: u32, pin: Option<&Path>) -> io::Result<()> {
    let mut create = Attr::default();
    create[..4].copy_from_slice(&[
        raw(&program),
        ifindex,
        BpfAttachType::Xdp as u32,
        XDP_FLAGS_DRV_MODE,
    ]);
    let path = pin.map(c_path).transpose()?;
    // SAFETY: the child only makes system calls, as a fork of a process with threads must, and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let link = bpf(BPF_LINK_CREATE, &mut create).unwrap_or(-1);
        let pinned = path.as_ref().is_none_or(|path| {
            let mut pin = Attr::default();
            pin[..2].copy_from_slice(&pointer(path.as_ptr()));
            pin[2] = link as u32;
            bpf(BPF_OBJ_PIN, &mut pin).is_ok()
        });
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(i32::from(link < 0 || !pinned)) };
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = -1;
    // SAFETY: waits for the child that was just started.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::other("the child process cannot attach the program"))
    }
}

/// Loads an XDP program that returns `action` for every packet.
pub fn load_xdp(action: u32, frags: bool) -> io::Result<OwnedFd> {
    // `r0 = action; exit`
    let instructions = [u64::from(action) << 32 | 0xb7, 0x95];
    let mut attr = program(ProgramType::Xdp, &instructions, c"GPL");
    attr[11] = if frags { BPF_F_XDP_HAS_FRAGS } else { 0 };
    // A link takes programs of one expected attach type only.
    attr[17] = BpfAttachType::Xdp as u32;
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Loads a program that passes every packet: `r0 = XDP_PASS; exit`, or `r0 = TCX_NEXT; exit`.
pub(crate) fn load_pass(kind: ProgramType) -> io::Result<OwnedFd> {
    let (result, flags): (u64, _) = match kind {
        ProgramType::Xdp => (0x0000_0002_0000_00b7, BPF_F_XDP_HAS_FRAGS),
        ProgramType::SchedCls | ProgramType::RawTracepoint => (0xffff_ffff_0000_00b7, 0),
    };
    let instructions = [result, 0x95];
    let mut attr = program(kind, &instructions, c"GPL");
    attr[11] = flags;
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Loads a classifier that returns `action` for every packet.
pub(crate) fn load_classifier(action: i32) -> io::Result<OwnedFd> {
    let instructions = [u64::from(action as u32) << 32 | 0xb7, 0x95];
    let mut attr = program(ProgramType::SchedCls, &instructions, c"GPL");
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Loads a program, unloads it, and returns the statistics that the verifier wrote.
pub fn verifier_log(kind: ProgramType, instructions: &[u64], license: &CStr) -> io::Result<String> {
    let mut log = vec![0_u8; LOG_LEN];
    let mut attr = program(kind, instructions, license);
    attr[6..8].copy_from_slice(&[BPF_LOG_STATS, LOG_LEN as u32]);
    attr[8..10].copy_from_slice(&pointer(log.as_mut_ptr()));
    if kind == ProgramType::Xdp {
        // A devmap only takes programs of its own expected attach type.
        attr[17] = BpfAttachType::Xdp as u32;
    }
    let loaded = bpf(BPF_PROG_LOAD, &mut attr).map(owned);
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG_LEN);
    let text = String::from_utf8_lossy(&log[..end]).into_owned();
    match loaded {
        Ok(_) => Ok(text),
        Err(error) => Err(io::Error::new(error.kind(), format!("{error}: {text}"))),
    }
}

/// Runs an XDP program once on a packet that arrives at an interface of the calling thread's namespace. 0 is
/// no interface in particular.
pub fn run_once(program: impl AsFd, frame: &[u8], ifindex: u32) -> io::Result<TestRun> {
    let context = xdp_md(frame, ifindex);
    let mut context_out = XdpMd::default();
    let mut out = vec![0_u8; frame.len() + 512];
    let mut attr = test_run(&program, frame, &context, 1);
    attr[3] = out.len() as u32;
    attr[6..8].copy_from_slice(&pointer(out.as_mut_ptr()));
    attr[11] = size_of_val(&context_out) as u32;
    attr[14..16].copy_from_slice(&pointer(context_out.as_mut_ptr()));
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    out.truncate(attr[3] as usize);
    // The output begins with the metadata; `data` counts from there.
    let packet = out.split_off((context_out[0] as usize).min(out.len()));
    Ok(TestRun {
        action: attr[1],
        metadata: out,
        packet,
    })
}

/// Runs an XDP program `repeat` times on the same packet, and returns the nanoseconds per run that the kernel
/// measured. The packet arrives as in [`run_once`].
pub fn run_repeated(program: impl AsFd, frame: &[u8], repeat: u32, ifindex: u32) -> io::Result<u32> {
    let context = xdp_md(frame, ifindex);
    let mut attr = test_run(&program, frame, &context, repeat);
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    Ok(attr[9])
}

/// Injects copies of a packet as if the driver of `ifindex` had received them, in batches as NAPI does. The
/// kernel carries out the action that the program returns. 0 is no interface in particular.
pub fn run_live(program: impl AsFd, frame: &[u8], copies: u32, ifindex: u32) -> io::Result<()> {
    let context = xdp_md(frame, ifindex);
    let mut attr = test_run(&program, frame, &context, copies);
    attr[16] = BPF_F_TEST_XDP_LIVE_FRAMES;
    attr[18] = NAPI_POLL_WEIGHT.min(copies);
    bpf(BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

fn program(kind: ProgramType, instructions: &[u64], license: &CStr) -> Attr {
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&[kind as u32, instructions.len() as u32]);
    attr[2..4].copy_from_slice(&pointer(instructions.as_ptr()));
    attr[4..6].copy_from_slice(&pointer(license.as_ptr()));
    attr
}

fn xdp_md(frame: &[u8], ifindex: u32) -> XdpMd {
    [0, frame.len() as u32, 0, ifindex, 0, 0]
}

fn test_run(program: &impl AsFd, frame: &[u8], context: &XdpMd, repeat: u32) -> Attr {
    let mut attr = Attr::default();
    attr[0] = raw(program);
    attr[2] = frame.len() as u32;
    attr[4..6].copy_from_slice(&pointer(frame.as_ptr()));
    attr[8] = repeat;
    attr[10] = size_of_val(context) as u32;
    attr[12..14].copy_from_slice(&pointer(context.as_ptr()));
    attr
}

/// A pointer as a 64-bit field, on the little-endian machines that the eBPF objects are built for.
fn pointer<T>(to: *const T) -> [u32; 2] {
    let address = to as u64;
    [address as u32, (address >> 32) as u32]
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn bpf(command: libc::c_long, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the attribute; its pointers are to values that the callers hold.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of::<Attr>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

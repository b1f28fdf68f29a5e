//! bpf(2) where a library would hide the numbers.
#![expect(unsafe_code, reason = "system calls that no library makes in this way")]

use std::{
    ffi::CStr,
    io,
    net::{SocketAddrV4, UdpSocket},
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::bpf_insn;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
/// The type of attachment.
const BPF_XDP: u32 = 37;
const LIVE_FRAMES: u32 = 1 << 1;
const DRIVER_MODE: u32 = 1 << 2;
/// `BPF_LOG_STATS`
const STATISTICS: u32 = 4;
/// Room for the statistics of a program.
const LOG: usize = 1 << 16;

/// Room for every attribute used here; what is not set stays zero.
type Attr = [u32; 32];

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchHook {
    /// XDP in the driver.
    Xdp,
    /// The last program of tcx ingress.
    TcxIngress,
}

/// What kind of program it is, by the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramKind {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    Classifier = 3,
    /// `BPF_PROG_TYPE_XDP`
    Xdp = 6,
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`
    RawTracepoint = 17,
}

/// What one run did to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRun {
    /// The XDP action.
    pub action: u32,
    /// The metadata in front of the packet.
    pub metadata: Vec<u8>,
    /// The packet.
    pub packet: Vec<u8>,
}

/// Attaches in the calling thread's network namespace, for as long as the descriptor is open.
pub fn attach(program: impl AsFd, ifindex: u32, hook: BenchHook) -> io::Result<OwnedFd> {
    let (kind, flags) = match hook {
        BenchHook::Xdp => (BPF_XDP, DRIVER_MODE),
        BenchHook::TcxIngress => (46, 0),
    };
    let mut attr = Attr::default();
    attr[..4].copy_from_slice(&[raw(&program), ifindex, kind, flags]);
    let link = bpf(BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Loads a program, forgets it, and returns the statistics that the verifier wrote.
pub fn verifier_log(kind: ProgramKind, instructions: &[bpf_insn], license: &CStr) -> io::Result<String> {
    let mut log = vec![0_u8; LOG];
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&[kind as u32, instructions.len() as u32]);
    attr[2..4].copy_from_slice(&halves(instructions.as_ptr() as u64));
    attr[4..6].copy_from_slice(&halves(license.as_ptr() as u64));
    attr[6..8].copy_from_slice(&[STATISTICS, LOG as u32]);
    attr[8..10].copy_from_slice(&halves(log.as_mut_ptr() as u64));
    if kind == ProgramKind::Xdp {
        // A devmap takes only programs that say the same about themselves.
        attr[17] = BPF_XDP;
    }
    let loaded = bpf(BPF_PROG_LOAD, &mut attr);
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG);
    let text = String::from_utf8_lossy(&log[..end]).into_owned();
    match loaded {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(program) => drop(unsafe { OwnedFd::from_raw_fd(program) }),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{error}: {text}"))),
    }
    Ok(text)
}

/// Opens what is pinned.
pub fn open_pin(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&halves(path.as_ptr() as u64));
    let object = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(object) })
}

/// One packet through a program.
pub fn run_once(program: impl AsFd, frame: &[u8]) -> io::Result<ProgramRun> {
    let context = [0_u32, frame.len() as u32, 0, 0, 0, 0];
    let mut context_out = [0_u32; 6];
    let mut out = vec![0_u8; frame.len() + 512];
    let mut attr = test(&program, frame, &context, 1);
    attr[3] = out.len() as u32;
    attr[6..8].copy_from_slice(&halves(out.as_mut_ptr() as u64));
    attr[11] = size_of_val(&context_out) as u32;
    attr[14..16].copy_from_slice(&halves(context_out.as_mut_ptr() as u64));
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    out.truncate(attr[3] as usize);
    // The output begins with the metadata; `data` counts from there.
    let packet = out.split_off((context_out[0] as usize).min(out.len()));
    Ok(ProgramRun {
        action: attr[1],
        metadata: out,
        packet,
    })
}

/// So many runs; nanoseconds for each, as the kernel tells them.
pub fn run_repeated(program: impl AsFd, frame: &[u8], repeat: u32) -> io::Result<u32> {
    let context = [0_u32, frame.len() as u32, 0, 0, 0, 0];
    let mut attr = test(&program, frame, &context, repeat);
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    Ok(attr[9])
}

/// So many packets, as if the driver of an interface of the thread's network namespace had received them, in batches of
/// 64 as NAPI does; what the program returns is carried out.
pub fn run_live(program: impl AsFd, frame: &[u8], repeat: u32, ifindex: u32) -> io::Result<()> {
    let context = [0_u32, frame.len() as u32, 0, ifindex, 0, 0];
    let mut attr = test(&program, frame, &context, repeat);
    attr[16] = LIVE_FRAMES;
    attr[18] = 64;
    bpf(BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

/// Sends the same datagram to so many addresses in turn, so often in all, 64 with each call.
pub fn send_in_turn(
    socket: &UdpSocket,
    to: &[SocketAddrV4],
    datagram: &[u8],
    total: usize,
) -> io::Result<()> {
    const BATCH: usize = 64;
    let mut addresses: Vec<libc::sockaddr_in> = to.iter().copied().map(sockaddr).collect();
    let mut data = libc::iovec {
        iov_base: datagram.as_ptr().cast_mut().cast(),
        iov_len: datagram.len(),
    };
    let mut messages: Vec<libc::mmsghdr> = addresses
        .iter_mut()
        .map(|address| {
            // SAFETY: all-zero is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut *address).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            message.msg_hdr.msg_iov = &raw mut data;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let mut sent = 0;
    while sent < total {
        let index = sent % messages.len();
        let count = BATCH.min(messages.len() - index).min(total - sent);
        // SAFETY: so many messages follow, and what they point to lives in this function.
        let done = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages[index..].as_mut_ptr(),
                count as u32,
                0,
            )
        };
        sent += usize::try_from(done).map_err(|_| io::Error::last_os_error())?;
    }
    Ok(())
}

fn sockaddr(to: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*to.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// The calling thread stays on this CPU.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn test(program: &impl AsFd, frame: &[u8], context: &[u32; 6], repeat: u32) -> Attr {
    let mut attr = Attr::default();
    attr[0] = raw(program);
    attr[2] = frame.len() as u32;
    attr[4..6].copy_from_slice(&halves(frame.as_ptr() as u64));
    attr[8] = repeat;
    attr[10] = size_of_val(context) as u32;
    attr[12..14].copy_from_slice(&halves(context.as_ptr() as u64));
    attr
}

/// Both words of a 64-bit field, on the little-endian machines that the eBPF object is built for.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

fn bpf(command: libc::c_long, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the attribute, and the pointers in it are to what the callers hold.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of::<Attr>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

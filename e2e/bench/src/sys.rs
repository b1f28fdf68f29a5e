//! System calls that no library makes in this way.
#![expect(unsafe_code, reason = "system calls that no library makes in this way")]

use std::{
    io,
    net::{SocketAddrV4, UdpSocket},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use xdp_lab::bpf::{self, BpfAttachType, XDP_FLAGS_DRV_MODE};

/// Attaches in the calling thread's network namespace, XDP in native mode, for as long as the descriptor is
/// open.
pub fn attach(program: impl AsFd, ifindex: u32, to: BpfAttachType) -> io::Result<OwnedFd> {
    let flags = match to {
        BpfAttachType::Xdp => XDP_FLAGS_DRV_MODE,
        BpfAttachType::TcxIngress | BpfAttachType::TcxEgress => 0,
    };
    bpf::link_create(program, ifindex, to, flags)
}

/// Sends `total` datagrams to the addresses in turn, 64 with each system call.
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
        // SAFETY: at least `count` messages follow, and everything they point to lives in this function.
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

/// Pins the calling thread to this CPU.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Returns `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`, in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

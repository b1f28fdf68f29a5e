//! Reports changes in this namespace and in every namespace that has an id here.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    thread::{
        JoinHandle, {self},
    },
    time::{Duration, Instant},
};

use netlink_sys::{Socket, protocols};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

use crate::node::netlink::{NetlinkError, genl::Netdev};

// enum rtnetlink_groups in include/uapi/linux/rtnetlink.h
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_NSID: u32 = 28;

/// A burst ends when no event came for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … and is reported after this long even if it goes on.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// A thread that follows the kernel's events until it is dropped.
///
/// It does not report what changed: the callback reads everything anyway, and events can be lost (`ENOBUFS`,
/// which counts as a change).
pub struct Monitor {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Starts the thread. It calls `changed` after every burst of changes of links, addresses, namespace ids
    /// or XDP features. No change after this function returns is missed. Needs `CAP_NET_BROADCAST`.
    pub fn start(changed: impl FnMut() + Send + 'static) -> Result<Self, NetlinkError> {
        let mut sockets = vec![subscribe_route()?];
        sockets.extend(subscribe_netdev()?);
        let failed = |step: &'static str| move |source| NetlinkError::Socket { step, source };
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)
            .map_err(io::Error::from)
            .map_err(failed("eventfd"))?;
        let stop = Arc::new(stop);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("netlink-monitor".to_owned())
            .spawn(move || follow(&sockets, &stopped, changed))
            .map_err(failed("thread"))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let signalled = self.stop.write(1).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| signalled) {
            // The panic hook has already reported a panic of the callback.
            let _ = thread.join();
        }
    }
}

fn subscribe_route() -> Result<Socket, NetlinkError> {
    let socket = open(protocols::NETLINK_ROUTE)?;
    let failed = |step: &'static str| move |source| NetlinkError::Socket { step, source };
    socket
        .set_listen_all_namespaces(true)
        .map_err(failed("NETLINK_LISTEN_ALL_NSID"))?;
    for group in [
        RTNLGRP_LINK,
        RTNLGRP_IPV4_IFADDR,
        RTNLGRP_IPV6_IFADDR,
        RTNLGRP_NSID,
    ] {
        socket
            .add_membership(group)
            .map_err(failed("NETLINK_ADD_MEMBERSHIP"))?;
    }
    Ok(socket)
}

/// Subscribes to changes of XDP features. Kernels before 6.3 have no such events.
fn subscribe_netdev() -> Result<Option<Socket>, NetlinkError> {
    let Some(group) = Netdev::open()?.and_then(|netdev| netdev.mgmt) else {
        return Ok(None);
    };
    let socket = open(protocols::NETLINK_GENERIC)?;
    let joined = socket.add_membership(group);
    joined.map_err(|source| NetlinkError::Socket {
        step: "NETLINK_ADD_MEMBERSHIP",
        source,
    })?;
    Ok(Some(socket))
}

fn open(protocol: isize) -> Result<Socket, NetlinkError> {
    let mut socket = Socket::new(protocol).map_err(|source| NetlinkError::Socket {
        step: "socket",
        source,
    })?;
    socket
        .bind_auto()
        .map_err(|source| NetlinkError::Socket { step: "bind", source })?;
    socket
        .set_non_blocking(true)
        .map_err(|source| NetlinkError::Socket {
            step: "O_NONBLOCK",
            source,
        })?;
    Ok(socket)
}

fn follow(sockets: &[Socket], stop: &EventFd, mut changed: impl FnMut()) {
    while wait(sockets, stop, PollTimeout::NONE) == Wake::Changed {
        let end = Instant::now() + LONGEST_BURST;
        loop {
            sockets.iter().for_each(drain);
            if Instant::now() >= end {
                break;
            }
            match wait(sockets, stop, QUIET.try_into().unwrap_or(PollTimeout::ZERO)) {
                Wake::Changed => {}
                Wake::Quiet => break,
                Wake::Stop => return,
            }
        }
        changed();
    }
}

#[derive(PartialEq, Eq)]
enum Wake {
    Changed,
    Quiet,
    Stop,
}

fn wait(sockets: &[Socket], stop: &EventFd, timeout: PollTimeout) -> Wake {
    let mut fds: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
        .collect();
    fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
    loop {
        match poll(&mut fds, timeout) {
            Ok(0) => return Wake::Quiet,
            Ok(_) if fds.last().and_then(PollFd::any) == Some(true) => return Wake::Stop,
            Ok(_) => return Wake::Changed,
            Err(Errno::EINTR) => {}
            // Only out of memory or file descriptors. The agent must not continue without its monitor.
            Err(error) => panic!("poll failed: {error}"),
        }
    }
}

/// Empties the queue. The content of the events does not matter.
fn drain(socket: &Socket) {
    loop {
        match nix::sys::socket::recv(
            socket.as_raw_fd(),
            &mut [0; 64],
            nix::sys::socket::MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(_) => return,
        }
    }
}

//! Reports changes in this namespace and in every namespace that has an id here.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{
        JoinHandle, {self},
    },
    time::Instant,
};

use netlink_sys::{Socket, protocols};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{setsockopt, sockopt},
    },
};
use xdp_plan::facts::WantedAddresses;

use self::{event::Event, wakes::Wakes};
use crate::node::netlink::{NetlinkError, genl::Netdev};

mod event;
mod wakes;

// enum rtnetlink_groups in include/uapi/linux/rtnetlink.h
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV4_NETCONF: u32 = 24;
const RTNLGRP_NSID: u32 = 28;

/// Room for events: a pod can cause tens of thousands per second.
const RECEIVE_BUFFER: usize = 8 << 20;
/// As many events are looked at before it is checked what is due.
const AT_ONCE: usize = 1024;

/// A thread that follows the kernel's events until it is dropped.
///
/// It does not report what changed: the callback reads everything anyway, and events can be lost (`ENOBUFS`,
/// which counts as a change). Events that mean nothing to the agent are left out, and each pod's and each
/// interface's are reported at a bounded rate: so none can keep the agent busy.
pub struct Monitor {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the agent wants to know of the inside of pods.
#[derive(Clone, Debug, Default)]
pub struct Interests(Arc<Mutex<Option<BTreeSet<IpAddr>>>>);

impl Interests {
    /// Limits events about addresses in pods to these. To be called before the addresses are read: what
    /// changes afterwards is reported.
    pub fn set(&self, wanted: &WantedAddresses) {
        *self.lock() = Some(wanted.keys().copied().collect());
    }

    fn include(&self, address: IpAddr) -> bool {
        let wanted = self.lock();
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&address.to_canonical()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeSet<IpAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Starts the thread. It calls `changed` after every burst of changes of links, addresses, settings such
    /// as `rp_filter`, namespace ids or XDP features. No change after this function returns is missed. Needs
    /// `CAP_NET_BROADCAST`.
    pub fn start(interests: Interests, changed: impl FnMut() + Send + 'static) -> Result<Self, NetlinkError> {
        let mut sockets = vec![(subscribe_route()?, event::route as event::Decode)];
        sockets.extend(subscribe_netdev()?.map(|socket| (socket, event::netdev as event::Decode)));
        let failed = |step: &'static str| move |source| NetlinkError::Socket { step, source };
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)
            .map_err(io::Error::from)
            .map_err(failed("eventfd"))?;
        let stop = Arc::new(stop);
        let follower = Follower {
            sockets,
            stop: Arc::clone(&stop),
            interests,
            wakes: Wakes::default(),
        };
        let thread = thread::Builder::new()
            .name("netlink-monitor".to_owned())
            .spawn(move || follower.follow(changed))
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
        RTNLGRP_IPV4_NETCONF,
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
    // With less room, more events are lost, which is noticed.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    Ok(socket)
}

struct Follower {
    sockets: Vec<(Socket, event::Decode)>,
    stop: Arc<EventFd>,
    interests: Interests,
    wakes: Wakes,
}

impl Follower {
    fn follow(mut self, mut changed: impl FnMut()) {
        let mut buffer = event::buffer();
        while self.wait() {
            for (socket, decode) in &self.sockets {
                for _ in 0..AT_ONCE {
                    let Some(event) = event::receive(socket, &mut buffer, *decode) else {
                        break;
                    };
                    if let Some(origin) = self.origin(event) {
                        self.wakes.note(origin, Instant::now());
                    }
                }
            }
            if self.wakes.take(Instant::now()) {
                changed();
            }
        }
    }

    /// Returns where an event comes from, unless it means nothing to the agent.
    fn origin(&self, event: Event) -> Option<wakes::Origin> {
        match event {
            Event::Change(origin) => Some(origin),
            Event::Address(address, origin) => self.interests.include(address).then_some(origin),
            Event::Nothing => None,
        }
    }

    /// Waits for an event, or until a report is due. Returns false when the thread should end.
    fn wait(&self) -> bool {
        let mut fds: Vec<_> = self
            .sockets
            .iter()
            .map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        fds.push(PollFd::new(self.stop.as_fd(), PollFlags::POLLIN));
        loop {
            let due = self.wakes.due().map(|due| {
                let wait = due.saturating_duration_since(Instant::now());
                // Rounded up: a poll that ends too early would be repeated without a pause.
                PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut fds, due.unwrap_or(PollTimeout::NONE)) {
                Ok(_) => return fds.last().and_then(PollFd::any) != Some(true),
                Err(Errno::EINTR) => {}
                // Only out of memory or file descriptors. The agent must not continue without its monitor.
                Err(error) => panic!("poll failed: {error}"),
            }
        }
    }
}

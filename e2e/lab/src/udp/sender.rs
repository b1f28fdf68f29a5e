//! The sender.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{HEADER, encode};
use crate::{LabError, Namespace, sys, wait::bound};

/// A veth with XDP has a ring of 256 packets; a burst must not fill it.
const BURST: u32 = 64;
const PAUSE: Duration = Duration::from_millis(1);

static STREAMS: AtomicU32 = AtomicU32::new(0);

/// Sends numbered datagrams from a namespace. It keeps the namespace alive: drop it before the lab.
#[derive(Debug)]
pub struct UdpSender {
    socket: UdpSocket,
    namespace: Namespace,
    to: SocketAddr,
    stream: u32,
    next: u64,
    datagram: Vec<u8>,
}

impl UdpSender {
    /// Sends from an address and port that the kernel chooses.
    pub fn new(namespace: &Namespace, to: SocketAddr) -> Result<Self, LabError> {
        Self::from(namespace, any(to), to)
    }

    /// Sends from this address and port. With port 0 the kernel chooses the port.
    pub fn from(namespace: &Namespace, from: SocketAddr, to: SocketAddr) -> Result<Self, LabError> {
        let socket = namespace
            .run(|| bound(|| UdpSocket::bind(from)))?
            .map_err(namespace.socket_failed(format!("bind to {from}")))?;
        Ok(Self {
            socket,
            namespace: namespace.clone(),
            to,
            stream: STREAMS.fetch_add(1, Ordering::Relaxed),
            next: 0,
            datagram: vec![0; HEADER + 16],
        })
    }

    /// Sets the bytes of UDP payload, 16 at least.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.datagram = vec![0; bytes.max(HEADER)];
        self
    }

    /// Sets the mark of sent packets. A mark does not leave the namespace.
    pub fn mark(self, mark: u32) -> Result<Self, LabError> {
        sys::set_option(&self.socket, libc::SO_MARK, mark as libc::c_int)
            .map_err(self.namespace.socket_failed("set the mark"))?;
        Ok(self)
    }

    /// Returns the number by which the receiver distinguishes senders.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Returns how many datagrams were sent so far. Their numbers begin with 0.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// Returns the source port.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Returns the source address that the kernel would choose now.
    pub fn source(&self) -> Option<IpAddr> {
        let probe = self.namespace.run(|| {
            let socket = UdpSocket::bind(any(self.to))?;
            socket.connect(self.to)?;
            socket.local_addr()
        });
        Some(probe.ok()?.ok()?.ip())
    }

    /// Sends the next datagram.
    pub fn send_one(&mut self) -> Result<(), LabError> {
        encode(self.stream, self.next, &mut self.datagram);
        self.socket
            .send_to(&self.datagram, self.to)
            .map_err(self.namespace.socket_failed(format!("send to {}", self.to)))?;
        self.next += 1;
        Ok(())
    }

    /// Sends `count` datagrams fast, in bursts that receivers can follow.
    pub fn send(&mut self, count: u64) -> Result<(), LabError> {
        self.send_paced(count, 20_000)
    }

    /// Sends `count` datagrams at a rate. Late ones are sent in bursts that fit into the rings on the path.
    pub fn send_paced(&mut self, count: u64, per_second: u32) -> Result<(), LabError> {
        let start = Instant::now();
        let mut burst = 0;
        for number in 0..count {
            let due = Duration::from_secs(1) * (number as u32) / per_second.max(1);
            let early = due.saturating_sub(start.elapsed());
            let pause = if burst == BURST { PAUSE } else { Duration::ZERO };
            burst += 1;
            if early.max(pause) >= PAUSE {
                thread::sleep(early.max(pause));
                burst = 0;
            }
            self.send_one()?;
        }
        Ok(())
    }
}

/// The unspecified address of the same family.
fn any(to: SocketAddr) -> SocketAddr {
    let ip = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

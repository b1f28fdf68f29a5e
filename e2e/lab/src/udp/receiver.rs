//! The receiving side.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{UdpStream, decode};
use crate::{
    LabError, Namespace,
    process::lock,
    sys::{
        Datagram, {self},
    },
    wait::bound,
    wait_until,
    worker::{Stop, TICK, Workers},
};

/// Holds a burst that a busy machine does not read at once.
const RECEIVE_BUFFER: libc::c_int = 32 << 20;

/// Counts datagrams at an address. It keeps the namespace alive: drop it before the lab.
#[derive(Debug)]
pub struct UdpReceiver {
    address: SocketAddr,
    received: Arc<Mutex<Datagrams>>,
    _worker: Workers,
}

/// The datagrams that arrived so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// The number of datagrams.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Datagrams by the mark of their skb (0: none).
    pub marks: BTreeMap<u32, u64>,
    /// Datagrams by source.
    pub sources: BTreeMap<IpAddr, u64>,
    /// Numbered datagrams by [`UdpSender::stream`](crate::UdpSender::stream).
    pub streams: BTreeMap<u32, UdpStream>,
    /// Datagrams without a number, which no [`UdpSender`](crate::UdpSender) sent.
    pub foreign: u64,
    /// Datagrams that the kernel dropped because the receiver's buffer was full.
    pub overflowed: u32,
}

impl UdpReceiver {
    /// Starts to receive at this address. With port 0 the kernel chooses the port.
    pub fn bind(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        let open = || {
            let socket = bound(|| UdpSocket::bind(address))?;
            socket.set_read_timeout(Some(TICK))?;
            sys::set_option(&socket, sys::SO_RCVMARK, 1)?;
            sys::set_option(&socket, libc::SO_RXQ_OVFL, 1)?;
            sys::set_option(&socket, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
            Ok((socket.local_addr()?, socket))
        };
        let (address, socket) = namespace
            .run(open)?
            .map_err(namespace.socket_failed(format!("receive at {address}")))?;
        let received = Arc::new(Mutex::default());
        let counted = Arc::clone(&received);
        let mut worker = Workers::default();
        worker.spawn(move |stop| count(&socket, stop, &counted));
        Ok(Self {
            address,
            received,
            _worker: worker,
        })
    }

    /// Returns the address it receives at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what arrived so far.
    pub fn received(&self) -> Datagrams {
        lock(&self.received).clone()
    }

    /// Returns what arrived so far from one sender.
    pub fn stream(&self, stream: u32) -> UdpStream {
        lock(&self.received)
            .streams
            .get(&stream)
            .cloned()
            .unwrap_or_default()
    }

    /// Resets all counters.
    pub fn reset(&self) {
        *lock(&self.received) = Datagrams::default();
    }

    /// Waits until at least this many datagrams arrived.
    pub fn wait_for(&self, packets: u64, timeout: Duration) -> Result<Datagrams, LabError> {
        let what = format!("{packets} datagrams arrive at {}", self.address);
        wait_until(&what, timeout, || lock(&self.received).packets >= packets)?;
        Ok(self.received())
    }
}

fn count(socket: &UdpSocket, stop: &Stop, received: &Mutex<Datagrams>) {
    let mut buffer = vec![0; 65536];
    while !stop.is_set() {
        match sys::receive(socket, &mut buffer) {
            Ok(datagram) => lock(received).add(&datagram, &buffer[..datagram.len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A network error, such as a removed address: datagrams may arrive again later.
            Err(_) => thread::sleep(TICK),
        }
    }
}

impl Datagrams {
    fn add(&mut self, datagram: &Datagram, payload: &[u8]) {
        self.packets += 1;
        self.bytes += payload.len() as u64;
        *self.marks.entry(datagram.mark).or_default() += 1;
        self.overflowed = self.overflowed.max(datagram.overflowed);
        if let Some(source) = datagram.source {
            *self.sources.entry(source).or_default() += 1;
        }
        match decode(payload) {
            Some((stream, number)) => self.streams.entry(stream).or_default().arrived(number),
            None => self.foreign += 1,
        }
    }
}

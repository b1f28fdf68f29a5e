//! The receiving side.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Duration,
};

use super::{Stream, decode};
use crate::{
    LabError, Namespace,
    process::lock,
    sys::{
        Datagram, {self},
    },
    wait::bound,
    wait_until,
};

/// How long the end of a receiver may take.
const TICK: Duration = Duration::from_millis(20);

/// Room for a burst that a busy machine does not read at once.
const BUFFER: libc::c_int = 32 << 20;

/// Counts datagrams at an address. It keeps the namespace alive: drop it before the lab.
#[derive(Debug)]
pub struct UdpReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Received>,
    stop: AtomicBool,
}

/// What arrived so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Datagrams by the mark of the skb that brought them (0: none).
    pub marks: BTreeMap<u32, u64>,
    /// Datagrams by source.
    pub sources: BTreeMap<IpAddr, u64>,
    /// Numbered ones by [`UdpSender::stream`](crate::UdpSender::stream).
    pub streams: BTreeMap<u32, Stream>,
    /// Datagrams without a number: somebody else's.
    pub foreign: u64,
    /// Datagrams that arrived and were lost in the receiver's own buffer.
    pub overflowed: u32,
}

impl UdpReceiver {
    /// Receive at this address from now on; port 0 is any.
    pub fn bind(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        let open = || {
            let socket = bound(|| UdpSocket::bind(address))?;
            socket.set_read_timeout(Some(TICK))?;
            sys::set_option(&socket, sys::SO_RCVMARK, 1)?;
            sys::set_option(&socket, libc::SO_RXQ_OVFL, 1)?;
            sys::set_option(&socket, libc::SO_RCVBUFFORCE, BUFFER)?;
            Ok((socket.local_addr()?, socket))
        };
        let (address, socket) = namespace
            .run(open)?
            .map_err(namespace.socket_failed(format!("receive at {address}")))?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || count(&socket, &theirs));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived so far.
    pub fn received(&self) -> Received {
        lock(&self.shared.received).clone()
    }

    /// What arrived so far of one sender.
    pub fn stream(&self, stream: u32) -> Stream {
        lock(&self.shared.received)
            .streams
            .get(&stream)
            .cloned()
            .unwrap_or_default()
    }

    /// Forget what arrived so far.
    pub fn reset(&self) {
        *lock(&self.shared.received) = Received::default();
    }

    /// Wait until at least this many datagrams arrived.
    pub fn wait_for(&self, packets: u64, timeout: Duration) -> Result<Received, LabError> {
        let what = format!("{packets} datagrams arrive at {}", self.address);
        wait_until(&what, timeout, || lock(&self.shared.received).packets >= packets)?;
        Ok(self.received())
    }
}

impl Drop for UdpReceiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn count(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; 65536];
    while !shared.stop.load(Ordering::Relaxed) {
        match sys::receive(socket, &mut buffer) {
            Ok(datagram) => lock(&shared.received).add(&datagram, &buffer[..datagram.len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An error of the network, such as an address that is gone: datagrams may arrive again later.
            Err(_) => thread::sleep(TICK),
        }
    }
}

impl Received {
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

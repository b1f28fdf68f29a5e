//! One thread accepts connections, one answers datagrams, and each connection has its own.

use std::{
    io::{
        Read, Write, {self},
    },
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{SEEN, WANTED};
use crate::{
    LabError, Namespace,
    process::lock,
    wait::bound,
    worker::{
        Stop, TICK, Workers, {self},
    },
};

/// Largest payload of a UDP datagram over IPv4.
const MAX_DATAGRAM: u32 = 65_507;
/// Limit for one write, to a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Echoes over TCP and answers over UDP at one address and port until it is dropped. It keeps the namespace
/// alive: drop it before the lab.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _workers: Workers,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has closed; it got all its bytes back, and `bye`.
    Closed,
    /// The client, or a device on the path, has reset it.
    Reset,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: Mutex<Vec<TcpStream>>,
    endings: Mutex<Vec<Ending>>,
}

impl EchoServer {
    /// Listens at this address.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        let bind = || {
            let listener = worker::listen(address)?;
            let datagrams = bound(|| UdpSocket::bind(address))?;
            datagrams.set_read_timeout(Some(TICK))?;
            Ok((listener, datagrams))
        };
        let (listener, datagrams) = namespace
            .run(bind)?
            .map_err(namespace.socket_failed(format!("answer at {address}")))?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let mut workers = Workers::default();
        workers.spawn(move |stop| accept(&listener, stop, &accepting));
        workers.spawn(move |stop| answer(&datagrams, stop));
        Ok(Self {
            address,
            shared,
            _workers: workers,
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how connections ended so far.
    pub fn endings(&self) -> Vec<Ending> {
        lock(&self.shared.endings).clone()
    }

    /// Sends bytes to a client without a request. The address is the client's as the server sees it.
    pub fn push(&self, client: SocketAddr, bytes: usize) -> io::Result<()> {
        self.connection(client)?.write_all(&vec![b'p'; bytes])
    }

    /// Shuts down the sending direction to a client. The connection closes when the client shuts down its
    /// own.
    pub fn finish(&self, client: SocketAddr) -> io::Result<()> {
        self.connection(client)?.shutdown(Shutdown::Write)
    }

    fn connection(&self, client: SocketAddr) -> io::Result<TcpStream> {
        let accepted = lock(&self.shared.accepted);
        let is_clients = |stream: &&TcpStream| stream.peer_addr().is_ok_and(|peer| peer == client);
        let stream = accepted.iter().find(is_clients);
        stream.ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn accept(listener: &TcpListener, stop: &Stop, shared: &Arc<Shared>) {
    let mut connections = Workers::default();
    while !stop.is_set() {
        let Ok((stream, peer)) = listener.accept() else {
            continue;
        };
        let Ok(kept) = stream.try_clone() else { continue };
        lock(&shared.accepted).push(kept);
        let shared = Arc::clone(shared);
        connections.spawn(move |stop| serve(stream, peer, stop, &shared));
    }
}

fn serve(mut stream: TcpStream, peer: SocketAddr, stop: &Stop, shared: &Shared) {
    let ending = match echo(&mut stream, peer, stop) {
        Ok(()) => Ending::Closed,
        Err(_) => Ending::Reset,
    };
    lock(&shared.accepted).retain(|kept| kept.peer_addr().is_ok_and(|other| other != peer));
    if !stop.is_set() {
        lock(&shared.endings).push(ending);
    }
}

fn echo(stream: &mut TcpStream, peer: SocketAddr, stop: &Stop) -> io::Result<()> {
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    stream.write_all(&seen(peer))?;
    let mut buffer = vec![0; 1 << 16];
    while !stop.is_set() {
        match stream.read(&mut buffer) {
            Ok(0) => {
                // This fails after `finish`, which is correct.
                let _ = stream.write_all(b"bye");
                break;
            }
            Ok(length) => stream.write_all(&buffer[..length])?,
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(datagrams: &UdpSocket, stop: &Stop) {
    let mut request = vec![0; 1 << 16];
    while !stop.is_set() {
        let Ok((length, from)) = datagrams.recv_from(&mut request) else {
            continue;
        };
        let wanted = request
            .first_chunk::<WANTED>()
            .map_or(0, |wanted| u32::from_be_bytes(*wanted));
        if wanted > MAX_DATAGRAM {
            // Not a request of `UdpClient`.
            continue;
        }
        let mut reply = vec![0; (wanted as usize).max(SEEN)];
        reply[..SEEN].copy_from_slice(&seen(from));
        if length >= 2 * WANTED {
            // The number of the request.
            reply.extend_from_slice(&request[WANTED..2 * WANTED]);
        }
        // The client may have closed its socket.
        let _ = datagrams.send_to(&reply, from);
    }
}

/// Formats the client's address. An IPv4-mapped address becomes an IPv4 address.
fn seen(peer: SocketAddr) -> [u8; SEEN] {
    let text = SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string();
    let mut seen = [0; SEEN];
    seen[..text.len()].copy_from_slice(text.as_bytes());
    seen
}

//! One thread for connections, one for datagrams, and one for every connection.

use std::{
    io::{
        Read, Write, {self},
    },
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Duration,
};

use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};

use super::{SEEN, WANTED};
use crate::{LabError, Namespace, process::lock, wait::bound};

/// How long a thread waits until it asks whether it shall go on.
const TURN: Duration = Duration::from_millis(50);
/// Of an answer, in bytes: what a datagram takes.
const LONGEST: u32 = 65_507;
/// A client that takes nothing for so long never will.
const STUCK: Duration = Duration::from_secs(20);

/// Answers TCP and UDP at one address and port until dropped, with what it got. It keeps the namespace alive: drop it
/// before the lab.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has said all; it got all of it back, and `bye`.
    Closed,
    /// The client, or something on the way, has reset it.
    Reset,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: Mutex<Vec<TcpStream>>,
    endings: Mutex<Vec<Ending>>,
}

impl EchoServer {
    /// Listen at this address.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        let bind = || {
            let listener = bound(|| TcpListener::bind(address))?;
            // Honoured by accept(2).
            let turn = TimeVal::new(0, TURN.as_micros() as i64);
            setsockopt(&listener, sockopt::ReceiveTimeout, &turn)?;
            let datagrams = bound(|| UdpSocket::bind(address))?;
            datagrams.set_read_timeout(Some(TURN))?;
            Ok((listener, datagrams))
        };
        let (listener, datagrams) = namespace
            .run(bind)?
            .map_err(namespace.socket_failed(format!("answer at {address}")))?;
        let shared = Arc::new(Shared::default());
        let [ours, theirs] = [Arc::clone(&shared), Arc::clone(&shared)];
        let threads = vec![
            thread::spawn(move || accept(&listener, &ours)),
            thread::spawn(move || answer(&datagrams, &theirs)),
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How connections ended so far.
    pub fn endings(&self) -> Vec<Ending> {
        lock(&self.shared.endings).clone()
    }

    /// Say something unasked on the connection with this client, as it is known to the server.
    pub fn push(&self, client: SocketAddr, bytes: usize) -> io::Result<()> {
        self.connection(client)?.write_all(&vec![b'p'; bytes])
    }

    /// Say no more on the connection with this client, which is closed when the client has said all, too.
    pub fn finish(&self, client: SocketAddr) -> io::Result<()> {
        self.connection(client)?.shutdown(Shutdown::Write)
    }

    fn connection(&self, client: SocketAddr) -> io::Result<TcpStream> {
        let accepted = lock(&self.shared.accepted);
        let is_its = |stream: &&TcpStream| stream.peer_addr().is_ok_and(|peer| peer == client);
        let stream = accepted.iter().find(is_its);
        stream.ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn goes_on(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((stream, peer)) = listener.accept() else {
            continue;
        };
        let Ok(kept) = stream.try_clone() else { continue };
        lock(&shared.accepted).push(kept);
        let theirs = Arc::clone(shared);
        threads.push(thread::spawn(move || serve(stream, peer, &theirs)));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) {
    let ending = match echo(&mut stream, peer, shared) {
        Ok(()) => Ending::Closed,
        Err(_) => Ending::Reset,
    };
    lock(&shared.accepted).retain(|kept| kept.peer_addr().is_ok_and(|other| other != peer));
    if !shared.stop.load(Ordering::Relaxed) {
        lock(&shared.endings).push(ending);
    }
}

fn echo(stream: &mut TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(TURN))?;
    stream.set_write_timeout(Some(STUCK))?;
    stream.write_all(&seen(peer))?;
    let mut buffer = vec![0; 1 << 16];
    while !shared.stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => {
                // It may have been said by `finish` that this is all.
                let _ = stream.write_all(b"bye");
                break;
            }
            Ok(length) => stream.write_all(&buffer[..length])?,
            Err(error) if goes_on(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(datagrams: &UdpSocket, shared: &Shared) {
    let mut request = vec![0; 1 << 16];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = datagrams.recv_from(&mut request) else {
            continue;
        };
        let wanted = request
            .first_chunk::<WANTED>()
            .map_or(0, |wanted| u32::from_be_bytes(*wanted));
        if wanted > LONGEST {
            // Another protocol's words.
            continue;
        }
        let mut reply = vec![0; (wanted as usize).max(SEEN)];
        reply[..SEEN].copy_from_slice(&seen(from));
        if length >= 2 * WANTED {
            // The number of the request.
            reply.extend_from_slice(&request[WANTED..2 * WANTED]);
        }
        // Who asked may be gone.
        let _ = datagrams.send_to(&reply, from);
    }
}

/// A v4 peer of a v6 socket is a v4 peer.
fn seen(peer: SocketAddr) -> [u8; SEEN] {
    let peer = match peer {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::from((
            v6.ip().to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
            v6.port(),
        )),
        peer => peer,
    };
    let text = peer.to_string();
    let mut seen = [0; SEEN];
    seen[..text.len()].copy_from_slice(text.as_bytes());
    seen
}

//! A small HTTP server for pods, and a client. The server tells the mark its connection was accepted with.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};

use crate::{LabError, Namespace, process::lock, wait::bound, wait_until};

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers `GET` in a namespace until dropped. It keeps the namespace alive: drop it before the lab.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<Vec<Answer>>,
    stop: AtomicBool,
}

/// What the server answered, as it saw the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who asked.
    pub peer: SocketAddr,
    /// `SO_MARK` of the accepted socket: that of the SYN.
    pub mark: u32,
}

impl HttpServer {
    /// Listen at this address; port 0 is any. From here on the whole namespace's accepted sockets inherit marks.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        namespace.set_sysctl("net/ipv4/tcp_fwmark_accept", "1")?;
        let listen = || {
            let listener = bound(|| TcpListener::bind(address))?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = namespace
            .run(listen)?
            .map_err(namespace.socket_failed(format!("listen at {address}")))?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || serve(&listener, &theirs));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answered so far.
    pub fn answers(&self) -> Vec<Answer> {
        lock(&self.shared.answers).clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Ask a server for `/`; the answer is what the server saw.
pub fn http_get(client: &Namespace, server: SocketAddr, timeout: Duration) -> Result<Answer, LabError> {
    let failed = || client.socket_failed(format!("speak HTTP with {server}"));
    let mut stream = client
        .run(|| TcpStream::connect_timeout(&server, timeout))?
        .map_err(failed())?;
    let mut text = String::new();
    let talk = |stream: &mut TcpStream, text: &mut String| {
        stream.set_read_timeout(Some(timeout))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n"
        )?;
        stream.read_to_string(text).map(drop)
    };
    talk(&mut stream, &mut text).map_err(failed())?;
    parse(&text).ok_or_else(|| LabError::Answer {
        peer: server.to_string(),
        answer: text,
    })
}

/// The body is `PEER MARK`.
fn parse(text: &str) -> Option<Answer> {
    let body = text.strip_prefix("HTTP/1.1 200 ")?.split_once("\r\n\r\n")?.1;
    let (peer, mark) = body.trim().split_once(' ')?;
    Some(Answer {
        peer: peer.parse().ok()?,
        mark: mark.parse().ok()?,
    })
}

/// One connection at a time: answers are short.
fn serve(listener: &TcpListener, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        let mut next = None;
        // A timeout means: nobody came yet.
        let _ = wait_until("a connection", Duration::from_millis(20), || {
            next = listener.accept().ok();
            next.is_some()
        });
        if let Some((stream, peer)) = next {
            // A client that went away is its own affair.
            let _ = answer(stream, peer, shared);
        }
    }
}

fn answer(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let mark = getsockopt(&stream, sockopt::Mark)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    lock(&shared.answers).push(Answer { peer, mark });
    let body = format!("{peer} {mark}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

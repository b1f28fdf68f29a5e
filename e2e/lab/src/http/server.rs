//! A server that reports the mark of each connection.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};

use super::HttpRequest;
use crate::{
    LabError, Namespace,
    process::lock,
    worker::{
        Stop, Workers, {self},
    },
};

/// The limit for one read or write.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers `GET` in a namespace until it is dropped. It keeps the namespace alive: drop it before the lab.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    served: Arc<Mutex<Vec<SeenConnection>>>,
    _worker: Workers,
}

/// A connection as the server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenConnection {
    /// The client.
    pub peer: SocketAddr,
    /// `SO_MARK` of the accepted socket: the mark of the SYN.
    pub mark: u32,
}

impl HttpServer {
    /// Listens at this address. With port 0 the kernel chooses the port.
    ///
    /// From now on all sockets that are accepted in the namespace inherit marks.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self, LabError> {
        namespace.set_sysctl("net/ipv4/tcp_fwmark_accept", "1")?;
        let listen = || {
            let listener = worker::listen(address)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = namespace
            .run(listen)?
            .map_err(namespace.socket_failed(format!("listen at {address}")))?;
        let served = Arc::new(Mutex::default());
        let answered = Arc::clone(&served);
        let mut worker = Workers::default();
        worker.spawn(move |stop| serve(&listener, stop, &answered));
        Ok(Self {
            address,
            served,
            _worker: worker,
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the connections that it has served so far.
    pub fn served(&self) -> Vec<SeenConnection> {
        lock(&self.served).clone()
    }
}

/// Requests `/` of an [`HttpServer`], and returns the connection as the server saw it.
pub fn http_get(
    client: &Namespace,
    server: SocketAddr,
    timeout: Duration,
) -> Result<SeenConnection, LabError> {
    let reply = HttpRequest::get("/").send(client, server, timeout)?;
    parse(&reply.body).ok_or_else(|| LabError::Answer {
        peer: server.to_string(),
        answer: reply.body,
    })
}

/// The body is `PEER MARK`.
fn parse(body: &str) -> Option<SeenConnection> {
    let (peer, mark) = body.trim().split_once(' ')?;
    Some(SeenConnection {
        peer: peer.parse().ok()?,
        mark: mark.parse().ok()?,
    })
}

/// Serves one connection at a time: answers are short.
fn serve(listener: &TcpListener, stop: &Stop, served: &Mutex<Vec<SeenConnection>>) {
    while !stop.is_set() {
        if let Ok((stream, peer)) = listener.accept() {
            // A client may disconnect at any time.
            let _ = answer(stream, peer, served);
        }
    }
}

fn answer(
    mut stream: TcpStream,
    peer: SocketAddr,
    served: &Mutex<Vec<SeenConnection>>,
) -> std::io::Result<()> {
    let mark = getsockopt(&stream, sockopt::Mark)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    lock(served).push(SeenConnection { peer, mark });
    let body = format!("{peer} {mark}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

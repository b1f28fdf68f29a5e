//! The clients of an [`EchoServer`](super::EchoServer).

use std::{
    io::{
        Read, Write, {self},
    },
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
    },
    time::TimeVal,
};

use super::{SEEN, WANTED};
use crate::{LabError, Namespace, sys, wait::bound};

/// Bytes in flight: the client reads them back before it writes more.
const CHUNK: usize = 32 << 10;

/// A TCP connection to an [`EchoServer`](super::EchoServer).
#[derive(Debug)]
pub struct EchoConnection {
    stream: TcpStream,
    seen: SocketAddr,
    /// The last byte that was sent; each chunk has another.
    last: u8,
}

/// Sends request datagrams from one port.
#[derive(Debug)]
pub struct UdpClient {
    socket: UdpSocket,
    requests: u32,
    buffer: Vec<u8>,
}

/// A reply datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpReply {
    /// Its source.
    pub from: SocketAddr,
    /// The client's address as the server saw it.
    pub seen: SocketAddr,
    /// Its length, without the number that the server appends.
    pub length: usize,
}

impl EchoConnection {
    /// Connects from an address, whose port may be 0, and reads the address that the server sees. `timeout`
    /// holds for each later read and write too.
    pub fn open(
        namespace: &Namespace,
        from: SocketAddr,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<io::Result<Self>, LabError> {
        namespace.run(|| {
            let mut stream = connected(from, to, timeout)?;
            let mut text = [0; SEEN];
            stream.read_exact(&mut text)?;
            Ok(Self {
                stream,
                seen: parse(&text)?,
                last: 0,
            })
        })
    }

    /// Returns the client's address as the server sees it.
    pub fn seen(&self) -> SocketAddr {
        self.seen
    }

    /// Returns the local address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sets the timeout of each read and write.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(timeout))?;
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Sends this many bytes, and reads them back.
    pub fn echo(&mut self, bytes: usize) -> io::Result<()> {
        let mut rest = bytes;
        while rest > 0 {
            let length = rest.min(CHUNK);
            self.last = self.last.wrapping_add(1);
            self.stream.write_all(&vec![self.last; length])?;
            let mut echo = vec![0; length];
            self.stream.read_exact(&mut echo)?;
            if echo.iter().any(|byte| *byte != self.last) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the echo differs"));
            }
            rest -= length;
        }
        Ok(())
    }

    /// Receives bytes that the server sent by [`push`](super::EchoServer::push).
    pub fn receive(&mut self, bytes: usize) -> io::Result<()> {
        let mut echo = vec![0; bytes];
        self.stream.read_exact(&mut echo)
    }

    /// Shuts down the sending direction, and reads until the server closes.
    pub fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.stream.shutdown(Shutdown::Write)?;
        self.read_to_end()
    }

    /// Reads until the server closes.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Resets the connection. Closing it would not be enough: a child process that is just starting may hold
    /// the socket too.
    pub fn reset(self) -> io::Result<()> {
        sys::disconnect(&self.stream)
    }
}

impl UdpClient {
    /// Binds to an address, whose port may be 0.
    pub fn bind(namespace: &Namespace, from: SocketAddr, timeout: Duration) -> Result<Self, LabError> {
        let socket = namespace
            .run(|| bound(|| UdpSocket::bind(from)))?
            .map_err(namespace.socket_failed(format!("bind to {from}")))?;
        socket
            .set_read_timeout(Some(timeout))
            .map_err(namespace.socket_failed("set a timeout"))?;
        Ok(Self {
            socket,
            requests: 0,
            buffer: vec![0; 1 << 16],
        })
    }

    /// Returns the local address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends a request of `request` bytes, and waits for the reply to it, which has `reply` bytes. The reply
    /// may come from any address.
    pub fn request(&mut self, to: SocketAddr, request: usize, reply: usize) -> io::Result<UdpReply> {
        self.requests += 1;
        let number = self.requests.to_be_bytes();
        let mut datagram = vec![0; request.max(2 * WANTED)];
        datagram[..WANTED].copy_from_slice(&(reply as u32).to_be_bytes());
        datagram[WANTED..2 * WANTED].copy_from_slice(&number);
        self.socket.send_to(&datagram, to)?;
        loop {
            let (length, from) = self.socket.recv_from(&mut self.buffer)?;
            let Some((text, of)) = self.buffer[..length].split_last_chunk::<WANTED>() else {
                continue;
            };
            // A late reply to an earlier request.
            if *of != number {
                continue;
            }
            let seen = text.first_chunk::<SEEN>().ok_or(io::ErrorKind::InvalidData)?;
            return Ok(UdpReply {
                from,
                seen: parse(seen)?,
                length: text.len(),
            });
        }
    }
}

/// The standard library cannot connect from a given address.
fn connected(from: SocketAddr, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let limit = TimeVal::new(timeout.as_secs() as i64, timeout.subsec_micros().into());
    // connect(2) honours it.
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(socket))
}

fn parse(text: &[u8; SEEN]) -> io::Result<SocketAddr> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches('\0');
    text.parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, text.to_owned()))
}

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

/// Written at once; the answer is awaited before the next.
const CHUNK: usize = 32 << 10;

/// A connection that is held open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    seen: SocketAddr,
    said: u8,
}

/// Asks by datagrams, all from one port.
#[derive(Debug)]
pub struct UdpClient {
    socket: UdpSocket,
    asked: u32,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpReply {
    /// Where it came from.
    pub from: SocketAddr,
    /// Who the server saw asking.
    pub seen: SocketAddr,
    /// How long it is, without what the server adds.
    pub length: usize,
}

impl Connection {
    /// Connect from an address, of which the port may be 0, and read who the server sees. `timeout` is that of every
    /// single step from now on.
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
                said: 0,
            })
        })
    }

    /// Who the server sees.
    pub fn seen(&self) -> SocketAddr {
        self.seen
    }

    /// This end.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Wait so long for every single step from now on.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(timeout))?;
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Say so many bytes, and hear them again.
    pub fn talk(&mut self, bytes: usize) -> io::Result<()> {
        let mut rest = bytes;
        while rest > 0 {
            let length = rest.min(CHUNK);
            self.said = self.said.wrapping_add(1);
            self.stream.write_all(&vec![self.said; length])?;
            let mut heard = vec![0; length];
            self.stream.read_exact(&mut heard)?;
            if heard.iter().any(|byte| *byte != self.said) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "other bytes came back",
                ));
            }
            rest -= length;
        }
        Ok(())
    }

    /// Hear what the server says unasked.
    pub fn hear(&mut self, bytes: usize) -> io::Result<()> {
        let mut heard = vec![0; bytes];
        self.stream.read_exact(&mut heard)
    }

    /// Say no more, and hear what is left until the server says no more either.
    pub fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.stream.shutdown(Shutdown::Write)?;
        self.rest()
    }

    /// Hear all until the server says no more.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// End it by a reset. Closing would not do at once: a child that is just being started may hold the socket, too.
    pub fn reset(self) -> io::Result<()> {
        sys::disconnect(&self.stream)
    }
}

impl UdpClient {
    /// Bind to an address, of which the port may be 0.
    pub fn bind(namespace: &Namespace, from: SocketAddr, timeout: Duration) -> Result<Self, LabError> {
        let socket = namespace
            .run(|| bound(|| UdpSocket::bind(from)))?
            .map_err(namespace.socket_failed(format!("bind to {from}")))?;
        socket
            .set_read_timeout(Some(timeout))
            .map_err(namespace.socket_failed("set a timeout"))?;
        Ok(Self { socket, asked: 0 })
    }

    /// This end.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket itself.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Send a request of so many bytes, and wait for the reply to it, which shall have so many. It may come from
    /// anywhere.
    pub fn ask(&mut self, to: SocketAddr, request: usize, reply: usize) -> io::Result<UdpReply> {
        self.asked += 1;
        let number = self.asked.to_be_bytes();
        let mut datagram = vec![0; request.max(2 * WANTED)];
        datagram[..WANTED].copy_from_slice(&(reply as u32).to_be_bytes());
        datagram[WANTED..2 * WANTED].copy_from_slice(&number);
        self.socket.send_to(&datagram, to)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer)?;
            let Some((text, of)) = buffer[..length].split_last_chunk::<WANTED>() else {
                continue;
            };
            // One that came too late for an earlier request.
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

/// The standard library connects from an address of the kernel's choice only.
fn connected(from: SocketAddr, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let limit = TimeVal::new(timeout.as_secs() as i64, timeout.subsec_micros().into());
    // Honoured by connect(2).
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

//! Sends requests and receives replies over one blocking socket.

use std::{io, ops::ControlFlow};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, parse_i32,
};
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::node::netlink::NetlinkError;

/// Attempts to read a dump that races with changes. After that many, something floods the kernel with
/// changes, and the next event triggers another read.
const DUMP_ATTEMPTS: u32 = 10;

/// One socket of one netlink protocol, bound to the namespace of the thread that opened it.
pub(crate) struct Client {
    socket: Socket,
    protocol: isize,
    sequence: u32,
}

/// The payloads of one reply, without message headers.
type Replies = Vec<Vec<u8>>;

/// How complete a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// All objects of one moment.
    Whole,
    /// The objects changed while they were listed: some may be missing.
    Changing,
    /// The receiver wanted no more.
    Cut,
}

impl Client {
    /// Opens a socket for interfaces and addresses, with strict checking of filters.
    pub(crate) fn route() -> Result<Self, NetlinkError> {
        let client = Self::open(protocols::NETLINK_ROUTE)?;
        client
            .socket
            .set_netlink_get_strict_chk(true)
            .map_err(socket_error("NETLINK_GET_STRICT_CHK"))?;
        Ok(client)
    }

    /// Opens a socket for generic netlink families.
    pub(crate) fn generic() -> Result<Self, NetlinkError> {
        Self::open(protocols::NETLINK_GENERIC)
    }

    /// Opens a socket for connection tracking.
    pub(crate) fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(protocols::NETLINK_NETFILTER)
    }

    /// Opens a socket for lists of sockets.
    pub(crate) fn sock_diag() -> Result<Self, NetlinkError> {
        Self::open(protocols::NETLINK_SOCK_DIAG)
    }

    fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(protocol).map_err(socket_error("socket"))?;
        socket.bind_auto().map_err(socket_error("bind"))?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(socket_error("connect"))?;
        Ok(Self {
            socket,
            protocol,
            sequence: 0,
        })
    }

    /// Requests one object.
    pub(crate) fn get<M>(&mut self, request: &'static str, message: M) -> Result<Vec<u8>, NetlinkError>
    where
        M: NetlinkSerializable + Into<NetlinkPayload<M>>,
    {
        self.send(message, NLM_F_REQUEST)?;
        let mut reply = None;
        self.receive(request, |payload| {
            reply.get_or_insert_with(|| payload.to_vec());
            ControlFlow::Continue(())
        })?;
        reply.ok_or_else(|| NetlinkError::Malformed {
            request,
            source: DecodeError::from("no message in the reply"),
        })
    }

    /// Requests a consistent list of all objects.
    pub(crate) fn dump<M>(&mut self, request: &'static str, message: &M) -> Result<Replies, NetlinkError>
    where
        M: NetlinkSerializable + Into<NetlinkPayload<M>> + Clone,
    {
        for _ in 0..DUMP_ATTEMPTS {
            let mut replies = Replies::new();
            let listing = self.list(request, message.clone(), |payload| {
                replies.push(payload.to_vec());
                ControlFlow::Continue(())
            })?;
            if listing == Listing::Whole {
                return Ok(replies);
            }
        }
        Err(NetlinkError::Unstable {
            request,
            attempts: DUMP_ATTEMPTS,
        })
    }

    /// Requests a list once, and passes on each object until `each` breaks.
    pub(crate) fn list<M>(
        &mut self,
        request: &'static str,
        message: M,
        each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Listing, NetlinkError>
    where
        M: NetlinkSerializable + Into<NetlinkPayload<M>>,
    {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        let listing = self.receive(request, each)?;
        if listing == Listing::Cut {
            // The kernel ends a list only with the socket that asked for it.
            *self = self.reopen()?;
        }
        Ok(listing)
    }

    fn reopen(&self) -> Result<Self, NetlinkError> {
        match self.protocol {
            protocols::NETLINK_ROUTE => Self::route(),
            protocol => Self::open(protocol),
        }
    }

    fn send<M>(&mut self, message: M, flags: u16) -> Result<(), NetlinkError>
    where
        M: NetlinkSerializable + Into<NetlinkPayload<M>>,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(socket_error("send"))?;
        Ok(())
    }

    /// Passes on all messages of the reply until `each` breaks.
    fn receive(
        &self,
        request: &'static str,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Listing, NetlinkError> {
        let mut listing = Listing::Whole;
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(socket_error("recv"))?;
            for message in Messages(&bytes) {
                let message = message.map_err(|source| NetlinkError::Malformed { request, source })?;
                if message.sequence_number() != self.sequence {
                    continue;
                }
                if message.flags() & NLM_F_DUMP_INTR != 0 {
                    listing = Listing::Changing;
                }
                match message.message_type() {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR | NLMSG_DONE => {
                        done(request, message.payload())?;
                        return Ok(listing);
                    }
                    _ if each(message.payload()).is_break() => return Ok(Listing::Cut),
                    _ => {}
                }
                if message.flags() & NLM_F_MULTIPART == 0 {
                    return Ok(listing);
                }
            }
        }
    }
}

/// Ends a reply. `NLMSG_ERROR` and `NLMSG_DONE` both begin with an errno, zero for success.
fn done(request: &'static str, payload: &[u8]) -> Result<(), NetlinkError> {
    match payload.get(..4).map_or(Ok(0), parse_i32) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(NetlinkError::Refused {
            request,
            source: io::Error::from_raw_os_error(errno.abs()),
        }),
        Err(source) => Err(NetlinkError::Malformed { request, source }),
    }
}

/// The messages in one datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(self.0);
        self.0 = match &message {
            Ok(message) => self
                .0
                .get((message.length() as usize).next_multiple_of(4)..)
                .unwrap_or_default(),
            Err(_) => &[],
        };
        Some(message)
    }
}

fn socket_error(step: &'static str) -> impl Fn(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { step, source }
}

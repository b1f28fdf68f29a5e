//! Sends requests and receives replies over one blocking socket.

use std::{io, ops::ControlFlow};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::node::netlink::{
    NetlinkError,
    reply::{Listing, Reply},
};

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
        let mut reply = Reply::new(request, self.sequence);
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(socket_error("recv"))?;
            if let Some(listing) = reply.take(&datagram, &mut each)? {
                return Ok(listing);
            }
        }
    }
}

fn socket_error(step: &'static str) -> impl Fn(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { step, source }
}

//! Connections and sockets as the kernel lists them.

use std::net::SocketAddr;

use xdp_core::parse::protocol;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
}

/// An entry of the node's connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConntrackEntry {
    /// IP protocol.
    pub protocol: u8,
    /// The packets of the host that opened it, before any translation.
    pub original: Tuple,
    /// The answers as they arrive, before they are translated back.
    pub reply: Tuple,
    /// Whether it has seen the beginning. Otherwise `original` is only the direction that it saw first.
    pub seen_opening: bool,
    /// Whether it has seen packets of both directions, more than a handshake that began.
    pub seen_reply: bool,
}

/// A socket in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodSocket {
    /// IP protocol.
    pub protocol: u8,
    /// The local address; unspecified if the socket takes packets for all.
    pub local: SocketAddr,
    /// The remote address. `None`: the socket accepts connections, or takes datagrams of everybody.
    pub remote: Option<SocketAddr>,
}

/// Whether the data path notes connections of this protocol.
pub const fn has_notes(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

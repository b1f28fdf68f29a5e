//! What the kernel says about the node: learned by the agent's netlink module, used by [`crate::compile`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The state of one node, from one set of dumps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Pairs that reach from the host's network namespace into another one.
    pub pairs: Vec<Pair>,
}

/// An interface of the host whose other end lives in another network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The host's end.
    pub host: Link,
    /// The other end.
    pub pod: Link,
    /// The namespace id (`IFLA_LINK_NETNSID`) by which the host knows the pod's namespace.
    pub netns_id: i32,
    /// Addresses of the pod's end, link-local ones included.
    pub addresses: Vec<IpAddr>,
}

/// One end of a [`Pair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index in its namespace.
    pub ifindex: u32,
    /// Interface name in its namespace.
    pub name: String,
    /// `IFLA_INFO_KIND`: `veth`, `netkit`, …; empty if the kernel gives none.
    pub kind: String,
    /// Administratively up.
    pub up: bool,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Link-layer address.
    pub mac: [u8; 6],
}

/// Whether a pod can take redirected packets, as found out by the agent, in this order: interface up, GRO on,
/// `NDO_XMIT` shown by the host's end, reader attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum Readiness {
    /// Every step is done and was read back.
    Ready,
    /// A step is missing; the pod's Redirect rules pass.
    NotReady {
        /// Which.
        reason: NotReady,
        /// For a person, with what to do about it.
        message: String,
    },
}

impl Readiness {
    /// Why not, if it is not.
    pub const fn obstacle(&self) -> Option<NotReady> {
        match self {
            Self::Ready => None,
            Self::NotReady { reason, .. } => Some(*reason),
        }
    }
}

/// What was found out about a pod's interface, for each way to deliver to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// For `delivery: Redirect`.
    pub redirect: Readiness,
    /// For `delivery: Peer`.
    pub peer: Readiness,
    /// Whether replies of flows that are taken find the reply path: all programs that see to it are attached.
    pub reply_path: Readiness,
}

/// Why a pod cannot take redirected packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotReady {
    /// None of the pod's rules redirects this way, so nothing was asked of its interface.
    NotPrepared,
    /// The pod's interface is not a veth (netkit has no `ndo_xdp_xmit`).
    NotVeth,
    /// The host's or the pod's end is administratively down.
    LinkDown,
    /// The pod's network namespace could not be found or entered.
    NetnsUnreachable,
    /// GRO could not be switched on.
    GroRefused,
    /// GRO is on, but the host's end does not show `NDO_XMIT`.
    NoNdoXmit,
    /// The reader could not be attached: marks would be lost.
    ReaderRefused,
    /// The program behind the NIC's stack entry could not be attached: nobody would deliver.
    PeerRefused,
    /// A program that sees to the replies could not be attached: connections would break.
    NoReplyPath,
}

//! Facts about the node: read by the agent's netlink module, used by [`crate::targets`].

mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
pub use wanted::WantedAddresses;

use crate::report::Problem;

/// The state of one node, from one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Pairs with one end in the host's network namespace and one in another.
    pub pairs: Vec<Pair>,
    /// The host's interfaces to which the node's own routes lead, by wanted address.
    pub routes: BTreeMap<IpAddr, u32>,
    /// The network namespaces of the processes of pods, by the pod's uid. Only of pods that claim an address
    /// that is in doubt otherwise.
    pub sandboxes: BTreeMap<String, BTreeSet<i32>>,
    /// Namespaces that could not be read: what is known of them is from an earlier reading.
    pub problems: Vec<Problem>,
}

impl NodeFacts {
    /// Returns the wanted addresses that need more evidence than pairs and routes: several pairs carry them
    /// and the route leads to none of these, or several pods claim them.
    pub fn contested<'a>(&self, wanted: &'a WantedAddresses) -> BTreeMap<IpAddr, &'a BTreeSet<String>> {
        let mut carriers = BTreeMap::<IpAddr, Vec<u32>>::new();
        for pair in &self.pairs {
            let distinct: BTreeSet<IpAddr> = pair.addresses.iter().map(IpAddr::to_canonical).collect();
            for address in distinct {
                carriers.entry(address).or_default().push(pair.host.ifindex);
            }
        }
        let contested = wanted.iter().filter(|(address, claims)| {
            let carriers = carriers.get(address).map_or(&[][..], Vec::as_slice);
            let route = self.routes.get(address);
            let decided = carriers.len() < 2 || route.is_some_and(|route| carriers.contains(route));
            !decided || !carriers.is_empty() && claims.len() > 1
        });
        contested.map(|(address, claims)| (*address, claims)).collect()
    }
}

/// An interface of the host whose other end is in another network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The host's end.
    pub host: Link,
    /// The other end.
    pub pod: Link,
    /// The pod's network namespace, by its id in the host's namespace (`IFLA_LINK_NETNSID`).
    pub netns_id: i32,
    /// Addresses of the pod's end, as far as they are wanted.
    pub addresses: Vec<IpAddr>,
}

/// One end of a [`Pair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index in its namespace.
    pub ifindex: u32,
    /// Interface name in its namespace.
    pub name: String,
    /// `IFLA_INFO_KIND`, such as `veth` or `netkit`. Empty: the kernel reports none.
    pub kind: String,
    /// Whether the interface is administratively up.
    pub up: bool,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Link-layer address.
    pub mac: [u8; 6],
}

/// Whether a pod can take redirected packets. The agent checks in this order: interface up, GRO on,
/// `NDO_XMIT` in the features of the host's end, reader attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum Readiness {
    /// Every step is done and read back.
    Ready,
    /// A step is missing; the pod's Redirect rules pass.
    NotReady {
        /// The missing step.
        reason: NotReady,
        /// What is wrong, and the remedy.
        message: String,
    },
}

impl Readiness {
    /// Returns reason and message, unless the pod is ready.
    pub const fn obstacle(&self) -> Option<NotReady> {
        match self {
            Self::Ready => None,
            Self::NotReady { reason, .. } => Some(*reason),
        }
    }
}

/// Readiness of a pod's interface, by delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// For `delivery: Redirect`.
    pub redirect: Readiness,
    /// For `delivery: Peer`.
    pub peer: Readiness,
    /// For replies: all programs of the reply path are attached.
    pub reply_path: Readiness,
}

impl Deliveries {
    /// Returns what a pod can take while an address of it is in doubt: nothing.
    pub fn in_doubt(message: &str) -> Self {
        let in_doubt = Readiness::NotReady {
            reason: NotReady::AddressInDoubt,
            message: message.to_owned(),
        };
        Self {
            redirect: in_doubt.clone(),
            peer: in_doubt.clone(),
            reply_path: in_doubt,
        }
    }
}

/// The reason why a pod cannot take redirected packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotReady {
    /// No rule of the pod redirects with this delivery, so the agent did not prepare the interface.
    NotPrepared,
    /// Several interfaces carry an address of the pod, and nothing tells which of them is the pod's.
    AddressInDoubt,
    /// The pod's interface is not a veth (netkit has no `ndo_xdp_xmit`).
    NotVeth,
    /// The host's or the pod's end is administratively down.
    LinkDown,
    /// The pod's network namespace could not be found or entered.
    NetnsUnreachable,
    /// The pod's replies may leave by another of its interfaces, where no program sees them.
    SeveralInterfaces,
    /// GRO could not be switched on.
    GroRefused,
    /// GRO is on, but the host's end does not show `NDO_XMIT`.
    NoNdoXmit,
    /// The reader could not be attached. Without it, marks are lost.
    ReaderRefused,
    /// The tc ingress program on the NIC could not be attached.
    PeerRefused,
    /// A program of the reply path could not be attached. Without it, connections break.
    NoReplyPath,
}

//! Addresses of the fixture, and addresses that no packet should have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where frames are sent, and where they are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// The other end of `nic0`.
    Wire0,
    /// The other end of `nic1`.
    Wire1,
    /// A selected pod.
    Server,
    /// A selected pod of another tenant.
    Neighbour,
    /// A pod that no policy selects.
    Other,
    /// A selected pod on a bridge.
    Bridged,
}

impl Place {
    pub(super) const PODS: [Self; 4] = [Self::Server, Self::Neighbour, Self::Other, Self::Bridged];

    /// Whether this is a pod.
    pub(super) fn is_pod(self) -> bool {
        Self::PODS.contains(&self)
    }

    /// Returns the address that belongs here.
    pub(super) fn host(self) -> Host {
        match self {
            Self::Wire0 => Host::Client,
            Self::Wire1 => Host::Client1,
            Self::Server => Host::Server,
            Self::Neighbour => Host::Neighbour,
            Self::Other => Host::Other,
            Self::Bridged => Host::Bridged,
        }
    }
}

/// A source or destination of packets. Each has an address of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Host {
    Client,
    Client1,
    /// On `nic0`'s network.
    Stranger,
    /// The node routes to it by `nic0`.
    Routed0,
    /// The node routes to it by `nic1`.
    Routed1,
    Unrouted,
    NodeNic,
    NodeNic1,
    NodeBridge,
    Server,
    Neighbour,
    Other,
    Bridged,
    /// In the pods' network.
    AbsentPod,
    Unspecified,
    /// IPv4: 0.0.0.0/8; IPv6: the discard prefix.
    ThisNetwork,
    Loopback,
    LinkLocal,
    Multicast,
    Reserved,
    /// IPv6: a routed multicast address.
    Broadcast,
    /// Of `nic0`'s network. IPv6: the anycast address of its routers.
    SubnetBroadcast,
    /// IPv6: the client's address, mapped from IPv4.
    Mapped,
    /// IPv6: the server's address, mapped from IPv4.
    MappedServer,
    /// IPv6: the client's address, compatible with IPv4.
    Compatible,
    SiteLocal,
}

impl Host {
    pub(super) const ALL: [Self; 26] = [
        Self::Client,
        Self::Client1,
        Self::Stranger,
        Self::Routed0,
        Self::Routed1,
        Self::Unrouted,
        Self::NodeNic,
        Self::NodeNic1,
        Self::NodeBridge,
        Self::Server,
        Self::Neighbour,
        Self::Other,
        Self::Bridged,
        Self::AbsentPod,
        Self::Unspecified,
        Self::ThisNetwork,
        Self::Loopback,
        Self::LinkLocal,
        Self::Multicast,
        Self::Reserved,
        Self::Broadcast,
        Self::SubnetBroadcast,
        Self::Mapped,
        Self::MappedServer,
        Self::Compatible,
        Self::SiteLocal,
    ];

    pub(super) fn address(self, v6: bool) -> IpAddr {
        if v6 { self.v6().into() } else { self.v4().into() }
    }

    fn v4(self) -> Ipv4Addr {
        Ipv4Addr::from(match self {
            Self::Client => [10, 1, 0, 2],
            Self::Client1 => [10, 1, 1, 2],
            Self::Stranger => [10, 1, 0, 77],
            Self::Routed0 => [198, 51, 100, 7],
            Self::Routed1 => [203, 0, 113, 7],
            Self::Unrouted => [192, 0, 2, 7],
            Self::NodeNic => [10, 1, 0, 1],
            Self::NodeNic1 => [10, 1, 1, 1],
            Self::NodeBridge => [10, 3, 0, 1],
            Self::Server | Self::MappedServer => [10, 2, 0, 5],
            Self::Neighbour => [10, 2, 0, 6],
            Self::Other => [10, 2, 0, 7],
            Self::Bridged => [10, 3, 0, 8],
            Self::AbsentPod => [10, 2, 0, 9],
            Self::Unspecified => [0, 0, 0, 0],
            Self::ThisNetwork => [0, 1, 2, 3],
            Self::Loopback => [127, 0, 0, 1],
            Self::LinkLocal => [169, 254, 7, 7],
            Self::Multicast => [224, 0, 0, 1],
            Self::Reserved => [240, 0, 0, 1],
            Self::Broadcast => [255, 255, 255, 255],
            Self::SubnetBroadcast => [10, 1, 0, 255],
            Self::Mapped => [100, 64, 0, 1],
            Self::Compatible => [10, 3, 0, 255],
            Self::SiteLocal => [192, 168, 1, 1],
        })
    }

    fn v6(self) -> Ipv6Addr {
        Ipv6Addr::from(match self {
            Self::Client => [0xfd01, 0, 0, 0, 0, 0, 0, 2],
            Self::Client1 => [0xfd01, 1, 0, 0, 0, 0, 0, 2],
            Self::Stranger => [0xfd01, 0, 0, 0, 0, 0, 0, 0x77],
            Self::Routed0 => [0x2001, 0xdb8, 1, 0, 0, 0, 0, 7],
            Self::Routed1 => [0x2001, 0xdb8, 2, 0, 0, 0, 0, 7],
            Self::Unrouted => [0x2001, 0xdb8, 3, 0, 0, 0, 0, 7],
            Self::NodeNic => [0xfd01, 0, 0, 0, 0, 0, 0, 1],
            Self::NodeNic1 => [0xfd01, 1, 0, 0, 0, 0, 0, 1],
            Self::NodeBridge => [0xfd03, 0, 0, 0, 0, 0, 0, 1],
            Self::Server => [0xfd02, 0, 0, 0, 0, 0, 0, 5],
            Self::Neighbour => [0xfd02, 0, 0, 0, 0, 0, 0, 6],
            Self::Other => [0xfd02, 0, 0, 0, 0, 0, 0, 7],
            Self::Bridged => [0xfd03, 0, 0, 0, 0, 0, 0, 8],
            Self::AbsentPod => [0xfd02, 0, 0, 0, 0, 0, 0, 9],
            Self::Unspecified => [0; 8],
            Self::ThisNetwork => [0x100, 0, 0, 0, 0, 0, 0, 1],
            Self::Loopback => [0, 0, 0, 0, 0, 0, 0, 1],
            Self::LinkLocal => [0xfe80, 0, 0, 0, 0, 0, 0, 0x77],
            Self::Multicast => [0xff02, 0, 0, 0, 0, 0, 0, 1],
            Self::Reserved => [0x4000, 0, 0, 0, 0, 0, 0, 1],
            Self::Broadcast => [0xff05, 0, 0, 0, 0, 0, 0, 2],
            Self::SubnetBroadcast => [0xfd01, 0, 0, 0, 0, 0, 0, 0],
            Self::Mapped => [0, 0, 0, 0, 0, 0xffff, 0x0a01, 2],
            Self::MappedServer => [0, 0, 0, 0, 0, 0xffff, 0x0a02, 5],
            Self::Compatible => [0, 0, 0, 0, 0, 0, 0x0a01, 2],
            Self::SiteLocal => [0xfec0, 0, 0, 0, 0, 0, 0, 7],
        })
    }
}

#[test]
fn addresses_are_unique_in_their_family() {
    let distinct = |v6| {
        let all = Host::ALL.map(|host| host.address(v6));
        std::collections::BTreeSet::from(all).len()
    };
    // IPv4 has no mapped addresses: the server's own takes the place.
    assert_eq!((distinct(false), distinct(true)), (25, 26));
}

//! What a cluster shall be, and the addresses that follow from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a cluster shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// How many nodes. Without any there is an API server and its storage, and nothing else.
    pub nodes: u8,
    /// kube-proxy's mode.
    pub proxy: Proxy,
    /// Whether the network plugins hide the pods' addresses behind the node's from everybody outside.
    pub masquerade: bool,
    /// Third octet of the network between nodes, clients and control plane: `172.30.N.0/24`. Only the one cluster that
    /// the machine itself takes part in ([`standing`](super::standing)) has to care.
    pub network: u8,
}

/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// The default of most clusters; drops what conntrack calls invalid.
    Iptables,
    /// Its successor.
    Nftables,
}

/// How a node's pods are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cni {
    /// A route per pod.
    Ptp,
    /// One bridge, `cni0`.
    Bridge,
}

/// An address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 2,
            proxy: Proxy::Iptables,
            masquerade: false,
            network: 0,
        }
    }
}

/// First two octets of the pods' addresses and of the services'.
pub(super) const SERVICES_V4: &str = "10.96.0.0/16";
pub(super) const SERVICES_V6: &str = "fd30:96::/112";
pub(super) const PODS_V4: &str = "10.244.0.0/16";
pub(super) const PODS_V6: &str = "fd30:244::/48";

const CONTROL: u8 = 1;
const MACHINE: u8 = 2;
const CLIENT: u8 = 200;

impl ClusterOptions {
    pub(super) fn control(self) -> Addresses {
        self.host(CONTROL)
    }

    /// The machine itself, where it takes part.
    pub(super) fn machine(self) -> Addresses {
        self.host(MACHINE)
    }

    pub(super) fn client(self) -> Addresses {
        self.host(CLIENT)
    }

    /// Nodes are counted from 1.
    pub(super) fn node(self, number: u8) -> Addresses {
        self.host(10 + number)
    }

    fn host(self, host: u8) -> Addresses {
        let network = self.network;
        Addresses {
            v4: Ipv4Addr::new(172, 30, network, host),
            v6: Ipv6Addr::new(0xfd30, 0x30, network.into(), 0, 0, 0, 0, host.into()),
        }
    }

    pub(super) fn server(self) -> String {
        format!("https://{}:6443", self.control().v4)
    }
}

impl Addresses {
    /// Both.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// The pods' ranges of a node.
pub(super) fn pods(number: u8) -> [String; 2] {
    [
        format!("10.244.{number}.0/24"),
        format!("fd30:244:0:{number:x}::/64"),
    ]
}

/// Node 1 is point-to-point, node 2 a bridge, and so on.
pub(super) fn cni(number: u8) -> Cni {
    if number % 2 == 1 { Cni::Ptp } else { Cni::Bridge }
}

impl Cni {
    /// The plugin's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ptp => "ptp",
            Self::Bridge => "bridge",
        }
    }
}

impl Proxy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }
}

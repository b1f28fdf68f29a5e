//! Options of a cluster, and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Options of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Number of nodes. With 0, only the API server and etcd run.
    pub nodes: u8,
    /// kube-proxy's mode.
    pub proxy: Proxy,
    /// Whether the network plugins masquerade packets from pods.
    pub masquerade: bool,
    /// Third octet of the network of nodes, client and control plane: `172.30.N.0/24`. It only matters for
    /// the cluster that the machine itself is connected to ([`background`](super::background)).
    pub network: u8,
    /// Whether the API server limits the requests of each client, as it does by default.
    pub priority_and_fairness: bool,
}

/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// iptables mode, the default of most clusters; drops packets in conntrack state INVALID.
    Iptables,
    /// nftables mode.
    Nftables,
}

/// Network plugin of a node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cni {
    /// Point-to-point, with a route for each pod.
    Ptp,
    /// One bridge, `cni0`.
    Bridge,
}

/// One address of each family.
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
            priority_and_fairness: true,
        }
    }
}

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

    /// Returns the addresses of the machine itself, if it is connected.
    pub(super) fn machine(self) -> Addresses {
        self.host(MACHINE)
    }

    pub(super) fn client(self) -> Addresses {
        self.host(CLIENT)
    }

    /// Returns the addresses of a node; numbers start with 1.
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
    /// Returns both addresses.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// Returns the pod ranges of a node.
pub(super) fn pods(number: u8) -> [String; 2] {
    [
        format!("10.244.{number}.0/24"),
        format!("fd30:244:0:{number:x}::/64"),
    ]
}

/// Returns the plugin of a node: odd nodes use ptp, even ones bridge.
pub(super) fn cni(number: u8) -> Cni {
    if number % 2 == 1 { Cni::Ptp } else { Cni::Bridge }
}

impl Cni {
    /// Returns the name of the plugin.
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

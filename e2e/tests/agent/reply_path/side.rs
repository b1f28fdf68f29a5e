//! The addresses of one family: pod, client and node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::fixture::at;

/// The port of the pod's server.
pub(super) const WEB: u16 = 80;
/// Node ports of its services: the first keeps the client's address, the second translates it.
pub(super) const NODE_PORTS: [u16; 2] = [30080, 30081];
/// The port of the ClusterIP's backend, which is outside.
const BACKEND: u16 = 5353;

/// The addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) pod: IpAddr,
    pub(super) client: IpAddr,
    pub(super) node: IpAddr,
}

impl Side {
    pub(super) fn is_v4(&self) -> bool {
        self.pod.is_ipv4()
    }

    /// The pod's server.
    pub(super) fn web(&self) -> SocketAddr {
        at(self.pod, WEB)
    }

    pub(super) fn node_ports(&self) -> [SocketAddr; 2] {
        NODE_PORTS.map(|port| at(self.node, port))
    }

    /// The server outside, which is also the service's backend.
    pub(super) fn outside(&self) -> SocketAddr {
        at(self.client, BACKEND)
    }

    pub(super) fn cluster_ip(&self) -> SocketAddr {
        let v6 = Ipv6Addr::new(0xfd30, 0x96, 0, 0, 0, 0, 0, 7);
        if self.is_v4() {
            at(Ipv4Addr::new(10, 96, 0, 7).into(), 53)
        } else {
            at(v6.into(), 53)
        }
    }

    /// The unspecified address of this family.
    pub(super) fn any(&self, port: u16) -> SocketAddr {
        if self.is_v4() {
            at(Ipv4Addr::UNSPECIFIED.into(), port)
        } else {
            at(Ipv6Addr::UNSPECIFIED.into(), port)
        }
    }
}

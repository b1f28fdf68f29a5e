//! One family's addresses of everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::fixture::at;

/// Where the pod's server answers.
pub(super) const WEB: u16 = 80;
/// Node ports of services before it: the first leaves the client's address alone, the second translates it.
pub(super) const NODE_PORTS: [u16; 2] = [30080, 30081];
/// Where the backend of the ClusterIP answers, which is outside.
const BACKEND: u16 = 5353;

/// One family's.
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

    /// The server outside, which is the service's backend, too.
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

    /// Any address of this family.
    pub(super) fn any(&self, port: u16) -> SocketAddr {
        if self.is_v4() {
            at(Ipv4Addr::UNSPECIFIED.into(), port)
        } else {
            at(Ipv6Addr::UNSPECIFIED.into(), port)
        }
    }
}

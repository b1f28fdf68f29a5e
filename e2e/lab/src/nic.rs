//! NICs: a veth pair between the node (the NIC) and a client (the wire).

use std::{net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    LabError, Namespace,
    interface::{End, add_veth},
    lab::Core,
    netlink::{Netlink, Route, full_prefix},
};

/// The description of a NIC to be created.
#[derive(Clone, Debug)]
pub struct NicSpec {
    /// Its name on the node.
    pub name: String,
    /// The client at the other end.
    pub client: Namespace,
    /// The network between the two: the node has its first address, the client its second. Default:
    /// `10.1.N.0/24`.
    pub v4: Option<Ipv4Net>,
    /// The IPv6 network between the two. Default: `fd01:N::/64`.
    pub v6: Option<Ipv6Net>,
}

/// A NIC of the node and the client at the other end of the wire.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Its name on the node.
    pub name: String,
    /// Its index on the node.
    pub ifindex: u32,
    /// Its MAC address, to which clients send.
    pub mac: [u8; 6],
    /// The client.
    pub client: Namespace,
    /// The client's interface.
    pub wire: String,
    /// The client's MAC address.
    pub client_mac: [u8; 6],
    /// The node's address on the wire.
    pub v4: IpAddr,
    /// The node's IPv6 address on the wire.
    pub v6: IpAddr,
    /// The client's address.
    pub client_v4: IpAddr,
    /// The client's IPv6 address.
    pub client_v6: IpAddr,
    node: Namespace,
    number: u8,
}

impl NicSpec {
    /// Describes a NIC with the default networks.
    pub fn new(name: &str, client: &Namespace) -> Self {
        Self {
            name: name.to_owned(),
            client: client.clone(),
            v4: None,
            v6: None,
        }
    }
}

impl Nic {
    pub(crate) fn create(core: &Arc<Core>, node: &Namespace, spec: NicSpec) -> Result<Self, LabError> {
        let mut topology = core.topology();
        let number = topology.nics.len() as u8;
        let v4 = spec
            .v4
            .unwrap_or_else(|| Ipv4Net::new_assert([10, 1, number, 0].into(), 24));
        let v6 = spec
            .v6
            .unwrap_or_else(|| Ipv6Net::new_assert([0xfd01, number.into(), 0, 0, 0, 0, 0, 0].into(), 64));
        let mut nic = Self {
            name: spec.name,
            ifindex: 0,
            mac: [2, 0, 0, 0, number, 2],
            client: spec.client,
            wire: format!("wire{number}"),
            client_mac: [2, 0, 0, 0, number, 1],
            v4: host(v4.into(), 1),
            v6: host(v6.into(), 1),
            client_v4: host(v4.into(), 2),
            client_v6: host(v6.into(), 2),
            node: node.clone(),
            number,
        };
        nic.wire_up(v4.prefix_len(), v6.prefix_len())?;
        nic.ifindex = nic.node.interface(&nic.name)?.index;
        for address in &topology.pod_addresses {
            nic.add_pod(*address)?;
        }
        topology.nics.push(nic.clone());
        Ok(nic)
    }

    fn wire_up(&self, v4_len: u8, v6_len: u8) -> Result<(), LabError> {
        let nic = End {
            namespace: &self.node,
            name: &self.name,
            mac: self.mac,
        };
        let wire = End {
            namespace: &self.client,
            name: &self.wire,
            mac: self.client_mac,
        };
        add_veth(&nic, &wire)?;
        // With the offload a veth sends incomplete checksums, and redirected packets would be dropped as
        // corrupt. Packets from a real wire have complete checksums.
        self.client.set_tx_checksum_offload(&self.wire, false)?;
        for (ip, length) in [(self.v4, v4_len), (self.v6, v6_len)] {
            self.node.add_address(&self.name, ip, length)?;
        }
        for (ip, length) in [(self.client_v4, v4_len), (self.client_v6, v6_len)] {
            self.client.add_address(&self.wire, ip, length)?;
        }
        Ok(())
    }

    /// Adds an address to the client, and a route to it over this NIC to the node.
    pub fn add_client_address(&self, ip: IpAddr) -> Result<(), LabError> {
        self.client.add_address(&self.wire, ip, full_prefix(ip))?;
        let via = if ip.is_ipv4() {
            self.client_v4
        } else {
            self.client_v6
        };
        Netlink::open(&self.node)?.set_route(Route {
            to: Some(ip),
            via: Some(via),
            ifindex: self.ifindex,
            metric: 1,
            is_v6: ip.is_ipv6(),
        })
    }

    /// Makes the client the node's gateway: replies to all addresses leave by this NIC.
    pub fn make_gateway(&self) -> Result<(), LabError> {
        for via in [self.client_v4, self.client_v6] {
            Netlink::open(&self.node)?.set_route(Route {
                to: None,
                via: Some(via),
                ifindex: self.ifindex,
                metric: 1,
                is_v6: via.is_ipv6(),
            })?;
        }
        Ok(())
    }

    /// Makes the client receive the frames that a program on the NIC sends back (`XDP_TX`).
    pub fn receive_xdp_tx(&self) -> Result<(), LabError> {
        self.client.receive_xdp_tx(&self.wire)
    }

    /// Adds the client's route to a pod.
    pub(crate) fn add_pod(&self, address: IpAddr) -> Result<(), LabError> {
        let route = self.route_to(address)?;
        Netlink::open(&self.client)?.set_route(route)
    }

    pub(crate) fn remove_pod(&self, address: IpAddr) -> Result<(), LabError> {
        let route = self.route_to(address)?;
        Netlink::open(&self.client)?.remove_route(route)
    }

    /// A client with several NICs prefers the first.
    fn route_to(&self, address: IpAddr) -> Result<Route, LabError> {
        Ok(Route {
            to: Some(address),
            via: Some(if address.is_ipv4() { self.v4 } else { self.v6 }),
            ifindex: self.client.interface(&self.wire)?.index,
            metric: 100 + u32::from(self.number),
            is_v6: address.is_ipv6(),
        })
    }
}

/// Returns the n-th address of the network.
pub(crate) fn host(network: IpNet, number: u8) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::from(number)).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(number)).into()),
    }
}

//! Addresses, routes and neighbours of a pod: in the pod, on the node and in the clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{BRIDGE, ETH0, LabPod, Style};
use crate::{
    LabError,
    netlink::{Netlink, Route, full_prefix},
    nic::host,
};

/// Gateways of point-to-point pods. No interface has these addresses: the pod has a static neighbour entry
/// with the MAC of the host-side veth.
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

impl LabPod {
    /// Idempotent.
    pub(super) fn configure(&self) -> Result<(), LabError> {
        for net in &self.addresses {
            let ip = net.addr();
            self.ns.add_address(ETH0, ip, self.prefix(*net))?;
            match self.style {
                Style::Ptp => self.connect_ptp(ip)?,
                Style::Bridge => self.connect_bridge(*net)?,
            }
        }
        let mut topology = self.core.topology();
        for ip in self.addresses() {
            for nic in &topology.nics {
                nic.add_pod(ip)?;
            }
            topology.pod_addresses.push(ip);
        }
        topology.pod_addresses.sort_unstable();
        topology.pod_addresses.dedup();
        Ok(())
    }

    fn connect_ptp(&self, ip: IpAddr) -> Result<(), LabError> {
        let gateway = if ip.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 };
        let mut pod = Netlink::open(&self.ns)?;
        pod.set_neighbour(self.ifindex, gateway, self.host_mac())?;
        let to_gateway = Route {
            to: Some(gateway),
            via: None,
            ifindex: self.ifindex,
            metric: 1,
            is_v6: ip.is_ipv6(),
        };
        pod.set_route(to_gateway)?;
        pod.set_route(Route {
            to: None,
            via: Some(gateway),
            ..to_gateway
        })?;
        Netlink::open(&self.node)?.set_route(self.host_route(ip))
    }

    fn connect_bridge(&self, net: IpNet) -> Result<(), LabError> {
        let gateway = host(net, 1);
        self.node.add_address(BRIDGE, gateway, net.prefix_len())?;
        Netlink::open(&self.ns)?.set_route(Route {
            to: None,
            via: Some(gateway),
            ifindex: self.ifindex,
            metric: 1,
            is_v6: gateway.is_ipv6(),
        })
    }

    /// Removes the clients' routes.
    pub(super) fn withdraw(&self) -> Result<(), LabError> {
        let mut topology = self.core.topology();
        for ip in self.addresses() {
            if topology.pod_addresses.contains(&ip) {
                for nic in &topology.nics {
                    nic.remove_pod(ip)?;
                }
            }
            topology.pod_addresses.retain(|known| *known != ip);
        }
        Ok(())
    }

    pub(super) fn host_route(&self, ip: IpAddr) -> Route {
        Route {
            to: Some(ip),
            via: None,
            ifindex: self.host_ifindex,
            metric: 1,
            is_v6: ip.is_ipv6(),
        }
    }

    pub(super) fn prefix(&self, net: IpNet) -> u8 {
        match self.style {
            Style::Ptp => full_prefix(net.addr()),
            Style::Bridge => net.prefix_len(),
        }
    }

    pub(super) fn host_mac(&self) -> [u8; 6] {
        [2, 0, 0, 3, self.pairs, self.number]
    }
}

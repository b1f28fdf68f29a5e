//! Pods: a namespace with an `eth0` whose other end is on the node, connected as common network plugins do.

use std::{net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    LabError, Namespace,
    interface::{End, add_bridge, add_veth, enslave},
    lab::Core,
    netlink::Netlink,
};

mod wiring;

const BRIDGE: &str = "br0";
const BRIDGE_MAC: [u8; 6] = [2, 0, 0, 2, 0, 1];
const ETH0: &str = "eth0";

/// How the host-side veth is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A route per address to the host-side veth (Calico, Cilium, AWS).
    Ptp,
    /// The host-side veth is a port of `br0`, which has the gateway's address; no route per pod (Flannel,
    /// kind).
    Bridge,
}

/// The description of a pod to be created.
#[derive(Clone, Debug)]
pub struct LabPodSpec {
    /// The name of its namespace.
    pub name: String,
    /// How it is connected.
    pub style: Style,
    /// Its IPv4 address. In the network of a bridge pod, the gateway has the first address.
    pub v4: Option<Ipv4Net>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Net>,
}

/// A pod.
#[derive(Debug)]
pub struct LabPod {
    /// Its namespace; its interface is `eth0`.
    pub ns: Namespace,
    /// The host-side veth.
    pub host_interface: String,
    /// The index of the host-side veth.
    pub host_ifindex: u32,
    /// Index of `eth0` in the pod.
    pub ifindex: u32,
    /// The MAC address of `eth0`.
    pub mac: [u8; 6],
    addresses: Vec<IpNet>,
    style: Style,
    node: Namespace,
    core: Arc<Core>,
    number: u8,
    /// The number of veth pairs so far: each has its own MACs.
    pairs: u8,
}

impl LabPodSpec {
    /// Describes a pod without addresses.
    pub fn new(name: &str, style: Style) -> Self {
        Self {
            name: name.to_owned(),
            style,
            v4: None,
            v6: None,
        }
    }

    /// Sets the IPv4 address.
    #[must_use]
    pub fn v4(self, v4: Ipv4Net) -> Self {
        Self { v4: Some(v4), ..self }
    }

    /// Sets the IPv6 address.
    #[must_use]
    pub fn v6(self, v6: Ipv6Net) -> Self {
        Self { v6: Some(v6), ..self }
    }

    fn addresses(&self) -> Vec<IpNet> {
        let (v4, v6) = (self.v4.map(IpNet::from), self.v6.map(IpNet::from));
        v4.into_iter().chain(v6).collect()
    }
}

impl LabPod {
    pub(crate) fn create(core: &Arc<Core>, node: &Namespace, spec: &LabPodSpec) -> Result<Self, LabError> {
        let ns = Namespace::create(core, &spec.name)?;
        let number = {
            let mut topology = core.topology();
            topology.pods += 1;
            if spec.style == Style::Bridge && !topology.has_bridge {
                add_bridge(node, BRIDGE, BRIDGE_MAC)?;
                topology.has_bridge = true;
            }
            topology.pods
        };
        let mut pod = Self {
            ns,
            host_interface: format!("veth{number}"),
            host_ifindex: 0,
            ifindex: 0,
            mac: [0; 6],
            addresses: spec.addresses(),
            style: spec.style,
            node: node.clone(),
            core: Arc::clone(core),
            number,
            pairs: 0,
        };
        pod.make_veth()?;
        Ok(pod)
    }

    /// Returns its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(IpNet::addr)
    }

    /// Returns its IPv4 address.
    ///
    /// # Panics
    /// If it has none.
    pub fn v4(&self) -> IpAddr {
        self.addresses()
            .find(IpAddr::is_ipv4)
            .expect("a pod with an IPv4 address")
    }

    /// Returns its IPv6 address.
    ///
    /// # Panics
    /// If it has none.
    pub fn v6(&self) -> IpAddr {
        self.addresses()
            .find(IpAddr::is_ipv6)
            .expect("a pod with an IPv6 address")
    }

    /// Creates the veth pair, possibly again, and adds the pod's addresses to `eth0`. Interface indexes and
    /// MACs are new.
    pub fn make_veth(&mut self) -> Result<(), LabError> {
        self.pairs += 1;
        let host = End {
            namespace: &self.node,
            name: &self.host_interface,
            mac: self.host_mac(),
        };
        let mac = [2, 0, 0, 1, self.pairs, self.number];
        let eth0 = End {
            namespace: &self.ns,
            name: ETH0,
            mac,
        };
        add_veth(&host, &eth0)?;
        self.mac = mac;
        self.host_ifindex = self.node.interface(&self.host_interface)?.index;
        self.ifindex = self.ns.interface(ETH0)?.index;
        if self.style == Style::Bridge {
            enslave(&self.node, &self.host_interface, BRIDGE)?;
        }
        self.configure()
    }

    /// Deletes the veth pair with its addresses, routes and attached programs. The namespace stays.
    pub fn delete_veth(&self) -> Result<(), LabError> {
        self.withdraw()?;
        self.node.delete_interface(&self.host_interface)
    }

    /// Removes the pod.
    pub fn remove(self) -> Result<(), LabError> {
        if self.node.find_interface(&self.host_interface)?.is_some() {
            self.delete_veth()?;
        }
        self.ns.release()
    }

    /// Replaces the pod's addresses.
    pub fn set_addresses(&mut self, addresses: &[IpNet]) -> Result<(), LabError> {
        self.withdraw()?;
        let mut pod = Netlink::open(&self.ns)?;
        let mut node = Netlink::open(&self.node)?;
        for net in &self.addresses {
            let ip = net.addr();
            pod.remove_address(self.ifindex, ip, self.prefix(*net))?;
            if self.style == Style::Ptp {
                node.remove_route(self.host_route(ip))?;
            }
        }
        self.addresses = addresses.to_vec();
        self.configure()
    }

    /// Sets `eth0` up or down. "Up" adds the addresses and routes again that the kernel removed on "down".
    pub fn set_up(&self, up: bool) -> Result<(), LabError> {
        self.ns.set_up(ETH0, up)?;
        if up { self.configure() } else { Ok(()) }
    }

    /// Sets the host-side veth up or down.
    pub fn set_host_up(&self, up: bool) -> Result<(), LabError> {
        self.node.set_up(&self.host_interface, up)?;
        if up { self.configure() } else { Ok(()) }
    }

    /// Changes the MTU of `eth0`.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), LabError> {
        self.ns.set_mtu(ETH0, mtu)
    }

    /// Changes the MTU of the host-side veth.
    pub fn set_host_mtu(&self, mtu: u32) -> Result<(), LabError> {
        self.node.set_mtu(&self.host_interface, mtu)
    }

    /// Returns whether GRO of `eth0` is on.
    pub fn gro(&self) -> Result<bool, LabError> {
        self.ns.gro(ETH0)
    }

    /// Switches GRO of `eth0` on or off.
    pub fn set_gro(&self, on: bool) -> Result<(), LabError> {
        self.ns.set_gro(ETH0, on)
    }
}

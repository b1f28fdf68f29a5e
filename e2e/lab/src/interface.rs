//! Interfaces of a namespace and their counters.

use std::{
    net::IpAddr,
    os::fd::AsRawFd,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
    },
};

use crate::{
    LabError, Namespace,
    netlink::{Netlink, Route, link_change, link_up},
    wait_until,
};

/// An interface, as read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabInterface {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Operationally up: it has a carrier, and no longer drops what it sends.
    pub running: bool,
    /// Whether it has a carrier. A tap has one, and never becomes operationally up.
    pub carrier: bool,
    /// How often the carrier came or went.
    pub carrier_changes: u32,
    /// Its counters.
    pub counters: Counters,
}

/// The part of `rtnl_link_stats64` that tests use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Dropped before they were sent.
    pub tx_dropped: u64,
    /// Bad packets received.
    pub rx_errors: u64,
}

/// One end of a veth pair.
pub(crate) struct End<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
    pub(crate) mac: [u8; 6],
}

/// The limit until link watch sees a carrier, on a busy machine.
const CARRIER: Duration = Duration::from_secs(20);
/// The MTU of every new interface.
pub(crate) const MTU: u32 = 1500;

impl Namespace {
    /// Returns the interface of this name, if it exists.
    pub fn find_interface(&self, name: &str) -> Result<Option<LabInterface>, LabError> {
        Ok(Netlink::open(self)?.link(name)?.map(interface))
    }

    /// Returns the interface of this name.
    pub fn interface(&self, name: &str) -> Result<LabInterface, LabError> {
        self.find_interface(name)?.ok_or_else(|| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: format!("look up the interface `{name}`"),
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        })
    }

    /// Returns the counters of an interface.
    pub fn counters(&self, name: &str) -> Result<Counters, LabError> {
        Ok(self.interface(name)?.counters)
    }

    /// Sets an interface up or down.
    pub fn set_up(&self, name: &str, up: bool) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let state = if up { "up" } else { "down" };
        Netlink::open(self)?.set_link(&format!("set `{name}` {state}"), link_up(index, up))
    }

    /// Changes an interface's MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let message = link_change(index, vec![LinkAttribute::Mtu(mtu)]);
        Netlink::open(self)?.set_link(&format!("set the MTU of `{name}` to {mtu}"), message)
    }

    /// Deletes an interface. The kernel deletes the other end of a veth pair with it.
    pub fn delete_interface(&self, name: &str) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let message = RouteNetlinkMessage::DelLink(link_change(index, Vec::new()));
        Netlink::open(self)?.request(&format!("delete `{name}`"), message, 0)
    }

    /// Creates a veth pair between this namespace and another, both ends up. Sent packets have complete
    /// checksums, as from a real wire; without them redirected packets would be corrupt.
    pub fn wire(&self, name: &str, other: &Namespace, other_name: &str) -> Result<(), LabError> {
        let [here, there] = [(self, name), (other, other_name)].map(|(namespace, name)| End {
            namespace,
            name,
            mac: unique_mac(),
        });
        add_veth(&here, &there)?;
        self.set_tx_checksum_offload(name, false)?;
        other.set_tx_checksum_offload(other_name, false)
    }

    /// Creates a bridge that is up.
    pub fn add_bridge(&self, name: &str) -> Result<(), LabError> {
        add_bridge(self, name, unique_mac())
    }

    /// Makes an interface a port of a bridge.
    pub fn add_port(&self, bridge: &str, port: &str) -> Result<(), LabError> {
        enslave(self, port, bridge)
    }

    /// Adds a route to one address.
    pub fn add_route(&self, to: IpAddr, via: IpAddr, interface: &str) -> Result<(), LabError> {
        let route = Route {
            to: Some(to),
            via: Some(via),
            ifindex: self.interface(interface)?.index,
            metric: 1,
            is_v6: to.is_ipv6(),
        };
        Netlink::open(self)?.set_route(route)
    }

    /// Waits until an interface has a carrier.
    pub fn wait_for_carrier(&self, name: &str, timeout: Duration) -> Result<(), LabError> {
        wait_until(&format!("`{name}` has a carrier"), timeout, || {
            self.interface(name).is_ok_and(|found| found.carrier)
        })
    }

    /// Adds an address to an interface.
    pub fn add_address(&self, name: &str, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        Netlink::open(self)?.set_address(index, ip, prefix)
    }
}

/// Creates a veth pair, both ends up and able to send. Until link watch has seen the carrier, the end that
/// was set up first silently drops packets (`noop_qdisc`).
pub(crate) fn add_veth(here: &End<'_>, there: &End<'_>) -> Result<(), LabError> {
    let netns = there.namespace.open()?;
    let mut peer = link_of(there);
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut message = link_of(here);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let what = format!("add the veth pair `{}`, `{}`", here.name, there.name);
    Netlink::open(here.namespace)?.add_link(&what, message)?;
    here.namespace.set_up(here.name, true)?;
    there.namespace.set_up(there.name, true)?;
    for end in [here, there] {
        wait_until(&format!("`{}` can send", end.name), CARRIER, || {
            end.namespace.interface(end.name).is_ok_and(|found| found.running)
        })?;
    }
    Ok(())
}

/// Creates a bridge that is up. Without snooping it floods multicast, so neighbour discovery needs no
/// querier.
pub(crate) fn add_bridge(namespace: &Namespace, name: &str, mac: [u8; 6]) -> Result<(), LabError> {
    let mut message = link_of(&End { namespace, name, mac });
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
    ]));
    Netlink::open(namespace)?.add_link(&format!("add the bridge `{name}`"), message)?;
    namespace.set_up(name, true)
}

/// Makes `port` a port of `bridge`.
pub(crate) fn enslave(namespace: &Namespace, port: &str, bridge: &str) -> Result<(), LabError> {
    let bridge_index = namespace.interface(bridge)?.index;
    let message = link_change(
        namespace.interface(port)?.index,
        vec![LinkAttribute::Controller(bridge_index)],
    );
    Netlink::open(namespace)?.set_link(&format!("make `{port}` a port of `{bridge}`"), message)
}

/// Indexes are unique over all labs of the machine: raw tracepoints report an index without its namespace, so
/// parallel tests would count each other's packets.
fn unique_index() -> u32 {
    static INDEXES: AtomicU32 = AtomicU32::new(1);
    (std::process::id() & 0x7fff) << 16 | INDEXES.fetch_add(1, Ordering::Relaxed) & 0xffff
}

/// A MAC address for interfaces whose address is not specified.
fn unique_mac() -> [u8; 6] {
    let [a, b, c, d] = unique_index().to_be_bytes();
    [2, 1, a, b, c, d]
}

fn link_of(end: &End<'_>) -> LinkMessage {
    link_change(
        unique_index(),
        vec![
            LinkAttribute::IfName(end.name.to_owned()),
            LinkAttribute::Address(end.mac.to_vec()),
            LinkAttribute::Mtu(MTU),
        ],
    )
}

fn interface(link: LinkMessage) -> LabInterface {
    let mut interface = LabInterface {
        index: link.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        running: false,
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        carrier_changes: 0,
        counters: Counters::default(),
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = name,
            LinkAttribute::Address(mac) => interface.mac = mac.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
            LinkAttribute::OperState(state) => interface.running = state == State::Up,
            LinkAttribute::CarrierChanges(changes) => interface.carrier_changes = changes,
            LinkAttribute::Stats64(stats) => {
                interface.counters = Counters {
                    rx_packets: stats.rx_packets,
                    tx_packets: stats.tx_packets,
                    rx_bytes: stats.rx_bytes,
                    tx_bytes: stats.tx_bytes,
                    rx_dropped: stats.rx_dropped,
                    tx_dropped: stats.tx_dropped,
                    rx_errors: stats.rx_errors,
                }
            }
            _ => {}
        }
    }
    interface
}

//! Interfaces of a namespace: what they are and what they counted.

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
    netlink::{Netlink, link_change, link_up},
    wait_until,
};

/// An interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
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
    /// Operationally up: it has a carrier, and what it sends is no longer dropped.
    pub running: bool,
    /// What it counted.
    pub counters: Counters,
}

/// `rtnl_link_stats64`, the part that tests look at.
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

/// Until a carrier is seen, on a machine that is busy with something else.
const CARRIER: Duration = Duration::from_secs(20);
/// What every interface starts with.
pub(crate) const MTU: u32 = 1500;

impl Namespace {
    /// The interface of this name, if there is one.
    pub fn find_interface(&self, name: &str) -> Result<Option<Interface>, LabError> {
        Ok(Netlink::open(self)?.link(name)?.map(interface))
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Result<Interface, LabError> {
        self.find_interface(name)?.ok_or_else(|| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: format!("look up the interface `{name}`"),
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        })
    }

    /// What the interface counted.
    pub fn counters(&self, name: &str) -> Result<Counters, LabError> {
        Ok(self.interface(name)?.counters)
    }

    /// Set an interface up or down.
    pub fn set_up(&self, name: &str, up: bool) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let state = if up { "up" } else { "down" };
        Netlink::open(self)?.set_link(&format!("set `{name}` {state}"), link_up(index, up))
    }

    /// Change an interface's MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let message = link_change(index, vec![LinkAttribute::Mtu(mtu)]);
        Netlink::open(self)?.set_link(&format!("set the MTU of `{name}` to {mtu}"), message)
    }

    /// Remove an interface; the other end of a veth pair goes with it.
    pub fn delete_interface(&self, name: &str) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        let message = RouteNetlinkMessage::DelLink(link_change(index, Vec::new()));
        Netlink::open(self)?.request(&format!("delete `{name}`"), message, 0)
    }

    /// Wire an interface of this namespace to one of another: a veth pair, both ends up. What is sent has complete
    /// checksums, as from a real wire; otherwise a redirect would make corrupt packets of them.
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

    /// Make a bridge that is up.
    pub fn add_bridge(&self, name: &str) -> Result<(), LabError> {
        add_bridge(self, name, unique_mac())
    }

    /// Make an interface a port of a bridge.
    pub fn add_port(&self, bridge: &str, port: &str) -> Result<(), LabError> {
        enslave(self, port, bridge)
    }

    /// Add an address to an interface.
    pub fn add_address(&self, name: &str, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        let index = self.interface(name)?.index;
        Netlink::open(self)?.set_address(index, ip, prefix)
    }
}

/// Make a veth pair, both ends up and able to send: until link watch has seen the carrier, the end that was set up first
/// drops what it is given (`noop_qdisc`), and tells nobody.
pub(crate) fn add_veth(here: &End<'_>, there: &End<'_>) -> Result<(), LabError> {
    let netns = there.namespace.open()?;
    let mut peer = ends_link(there);
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut message = ends_link(here);
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

/// Make a bridge that is up. Without snooping it floods multicast, so neighbour discovery needs no querier.
pub(crate) fn add_bridge(namespace: &Namespace, name: &str, mac: [u8; 6]) -> Result<(), LabError> {
    let mut message = ends_link(&End { namespace, name, mac });
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
    ]));
    Netlink::open(namespace)?.add_link(&format!("add the bridge `{name}`"), message)?;
    namespace.set_up(name, true)
}

/// Make `port` a port of `bridge`.
pub(crate) fn enslave(namespace: &Namespace, port: &str, bridge: &str) -> Result<(), LabError> {
    let bridge_index = namespace.interface(bridge)?.index;
    let message = link_change(
        namespace.interface(port)?.index,
        vec![LinkAttribute::Controller(bridge_index)],
    );
    Netlink::open(namespace)?.set_link(&format!("make `{port}` a port of `{bridge}`"), message)
}

/// Indexes are unique over all labs of the machine: raw tracepoints tell an index without its namespace, so tests that
/// run side by side would count each other's packets.
fn unique_index() -> u32 {
    static INDEXES: AtomicU32 = AtomicU32::new(1);
    (std::process::id() & 0x7fff) << 16 | INDEXES.fetch_add(1, Ordering::Relaxed) & 0xffff
}

/// For interfaces whose MAC address nobody has to know.
fn unique_mac() -> [u8; 6] {
    let [a, b, c, d] = unique_index().to_be_bytes();
    [2, 1, a, b, c, d]
}

fn ends_link(end: &End<'_>) -> LinkMessage {
    link_change(
        unique_index(),
        vec![
            LinkAttribute::IfName(end.name.to_owned()),
            LinkAttribute::Address(end.mac.to_vec()),
            LinkAttribute::Mtu(MTU),
        ],
    )
}

fn interface(link: LinkMessage) -> Interface {
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        running: false,
        counters: Counters::default(),
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = name,
            LinkAttribute::Address(mac) => interface.mac = mac.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
            LinkAttribute::OperState(state) => interface.running = state == State::Up,
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

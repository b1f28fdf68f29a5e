//! What netlink says of an interface.

use xdp_core::tables::TagId;

/// An interface as `RTM_GETLINK` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about an interface"
)]
pub struct HostLink {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Alternative names (`ip link property`): udev gives NICs those of other schemes.
    pub altnames: Vec<String>,
    /// `IFLA_INFO_KIND`: `veth`, `bridge`, …; empty for hardware.
    pub kind: String,
    /// Whether the interface is administratively up.
    pub up: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// Whether the link has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Link-layer address; zero if it does not have six bytes.
    pub mac: [u8; 6],
    /// Index of the bridge or bond that the interface belongs to.
    pub master: Option<u32>,
    /// `IFLA_LINK`: the lower interface, or the peer of a pair.
    pub link: Option<u32>,
    /// `IFLA_LINK_NETNSID`: id of the namespace of [`HostLink::link`], if it is another one. The kernel
    /// reports -1 for a namespace without an id.
    pub link_netns: Option<i32>,
    /// The tag of a VLAN interface.
    pub vlan: Option<TagId>,
    /// Whether the interface is a port of a bridge or bond that does not take frames now: the backup of a
    /// bond (`IFLA_BOND_SLAVE_STATE`), or not forwarding (`IFLA_BRPORT_STATE`).
    pub inactive_port: bool,
    /// Whether a bridge filters VLANs (`IFLA_BR_VLAN_FILTERING`).
    pub filters_vlans: bool,
    /// VLANs of a port of such a bridge, or of the bridge itself.
    pub bridge_vlans: Vec<BridgeVlan>,
    /// Whether a macvlan takes all frames of its lower interface (mode `passthru`).
    pub passthru: bool,
    /// Whether a macvlan takes frames by their source address alone (mode `source`).
    pub by_source: bool,
    /// The tunnel, if the interface is one.
    pub tunnel: Option<Tunnel>,
    /// The attached XDP program.
    pub xdp: XdpState,
}

/// A VLAN that a bridge lets pass at one of its ports, or to itself (`struct bridge_vlan_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeVlan {
    /// The VLAN.
    pub id: u16,
    /// Untagged frames that arrive belong to it.
    pub pvid: bool,
    /// Its frames leave without a tag.
    pub untagged: bool,
}

/// `IFLA_XDP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpState {
    /// The mode in which it runs.
    pub mode: XdpMode,
    /// Its id. With several programs (`Multi`), the id of one of them, the driver's first.
    pub program_id: Option<u32>,
}

/// `IFLA_XDP_ATTACHED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// No program.
    #[default]
    None,
    /// In the driver.
    Native,
    /// In the stack, after the skb was allocated.
    Generic,
    /// In the device.
    Offload,
    /// More than one program, in different modes.
    Multi,
}

/// A tunnel device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// The interface by which its packets leave. `None`: the node's routes decide.
    pub lower: Option<u32>,
}

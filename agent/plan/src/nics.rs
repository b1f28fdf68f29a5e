//! Decides which NICs get the program, and reports what prevents it.
//!
//! The reason for a refused attach goes to the kernel's log, not to the caller (mlx5 5.15 to 7.1 use
//! `netdev_warn`), so what can be known before is checked before, and an errno is read together with the
//! facts.

mod errno;
mod features;
mod mlx5;
mod preflight;
mod problem;
mod select;
mod state;
mod stations;
mod support;
mod tunnels;
mod uppers;

pub use errno::{AttachRefusal, attach_problem};
pub use features::{BASIC, NDO_XMIT, REDIRECT, feature_names};
pub use mlx5::{ReceiveQueue, Strides, few_strides, linear_mtu, linear_mtu_limit};
pub use preflight::preflight;
pub use problem::{
    REPLY_PATH_NEEDS, cilium_runs, generic_mode, no_reply_path, not_native, peer_refused, reason,
};
pub use select::{NicSelector, Selection, select};
pub use state::{mode, states};
pub use stations::{Stations, stations};
pub use support::{RuleSupport, Support, rule_support};
pub use tunnels::{Tunnel, tunnel_not_decided};
pub use uppers::{Uppers, advice, uppers};
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

/// The driver of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// Driver name, for example `mlx5_core`.
    pub name: String,
    /// Bus address, for example `0000:3b:00.0`; empty for virtual interfaces.
    pub bus: String,
    /// Version of the firmware; empty if the driver does not say.
    pub firmware: String,
}

/// The facts about an interface that may be a NIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about an interface"
)]
pub struct NicFacts {
    /// The interface.
    pub link: HostLink,
    /// Its driver; empty if it does not say.
    pub driver: Driver,
    /// It is a virtual function of another NIC (SR-IOV).
    pub virtual_function: bool,
    /// `xdp-features`; `None` on kernels before 6.3.
    pub features: Option<u64>,
    /// It has an address in a network with more than that address, link-local ones aside.
    pub has_network: bool,
    /// Large receive offload is on.
    pub lro: bool,
    /// Generic receive offload in hardware is on.
    pub hw_gro: bool,
    /// Headers and data of TCP segments are split into different buffers (`ethtool -g`: TCP data split).
    pub data_split: bool,
    /// The receive queues are striding (private flag `rx_striding_rq` of mlx5). `None`: the driver has no
    /// such flag.
    pub striding: Option<bool>,
    /// The firmware of an mlx5 NIC allows the few strides per buffer that XDP needs (capability
    /// `ext_stride_num_range`). `None`: unknown.
    pub few_strides: Option<bool>,
    /// What the kernel applies as `rp_filter` of the interface: the larger value of `all` and its own.
    pub rp_filter: u32,
    /// The bridge, bond or the like above it that has an XDP program, and that program.
    pub upper: Option<(String, XdpState)>,
    /// The kernel's tag of the XDP program that is attached.
    pub program_tag: Option<u64>,
}

//! Decides which NICs get the program, and reports what prevents it.
//!
//! The reason for a refused attach goes to the kernel's log, not to the caller (mlx5 5.15 to 7.1 use
//! `netdev_warn`), so what can be known before is checked before, and an errno is read together with the
//! facts.

mod errno;
mod features;
mod link;
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
pub use link::{BridgeVlan, HostLink, Tunnel, XdpMode, XdpState};
pub use mlx5::{ReceiveQueue, Strides, few_strides, linear_mtu, linear_mtu_limit};
pub use preflight::preflight;
pub use problem::{
    REPLY_PATH_NEEDS, cilium_runs, generic_mode, no_reply_path, not_native, peer_refused, reason,
};
pub use select::{NicSelector, Selection, select};
pub use state::{mode, states};
pub use stations::{Stations, stations};
pub use support::{RuleSupport, Support, rule_support};
pub use tunnels::tunnel_not_decided;
pub use uppers::{Uppers, advice, uppers};

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

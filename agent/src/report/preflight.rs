//! `xdp-agent preflight`: whether the agent would work on this node and its NICs. Attaches nothing.
//!
//! The refusals are those of [`xdp_plan::nics::preflight`], with which the running agent decides, too.

use serde::Serialize;
use xdp_crds::NicMode;
use xdp_plan::{nics::RuleSupport, report::Problem};

mod build;
mod collect;
mod table;
#[cfg(test)]
mod tests;

pub use collect::{PreflightError, collect};

use crate::node::ethtool::{Channels, Rings};

/// The output of `xdp-agent preflight`, and its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightReport {
    /// Whether there is a selected NIC, and every selected NIC would get the program in its driver.
    pub passed: bool,
    /// The machine.
    pub machine: MachineReport,
    /// The selected NICs.
    pub nics: Vec<NicReport>,
    /// Problems of the selection.
    pub problems: Vec<Problem>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineReport {
    /// Kernel release, as `uname -r` shows it.
    pub kernel: String,
    /// Architecture, as Rust names it.
    pub architecture: &'static str,
    /// Size of a page of memory in bytes.
    pub page_size: u32,
    /// Whether classifiers are attached by tcx; otherwise they are filters of a clsact qdisc.
    pub tcx: bool,
    /// Whether the kernel compiles BPF programs. `None`: the setting cannot be read.
    pub jit: Option<bool>,
    /// What prevents the agent from starting.
    pub problems: Vec<Problem>,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NicReport {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Its driver.
    pub driver: String,
    /// Version of its firmware.
    pub firmware: String,
    /// Its bus address.
    pub bus: String,
    /// Physical or virtual function. `None`: not a PCI device.
    pub function: Option<PciFunction>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether its link has a carrier.
    pub carrier: bool,
    /// Its MTU.
    pub mtu: u32,
    /// The largest MTU with XDP, for drivers whose arithmetic is known.
    pub mtu_limit: Option<u32>,
    /// Numbers of queues. `None`: the driver does not say.
    pub channels: Option<ChannelsReport>,
    /// Sizes of rings, in packets. `None`: the driver does not say.
    pub rings: Option<RingsReport>,
    /// Settings that decide about XDP.
    pub offloads: OffloadsReport,
    /// `xdp-features`. `None`: the kernel does not say (before Linux 6.3).
    pub features: Option<Vec<String>>,
    /// The attached XDP program.
    pub program: Option<ProgramReport>,
    /// The bond, bridge or the like above it.
    pub master: Option<MasterReport>,
    /// VLAN interfaces above it or above its master.
    pub vlans: Vec<String>,
    /// How rules would work.
    pub rules: RuleSupport,
    /// What would prevent the attachment in the driver.
    pub problems: Vec<Problem>,
    /// What does not prevent it, and should be known.
    pub advice: Vec<Problem>,
}

/// The kind of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PciFunction {
    /// Physical function.
    #[serde(rename = "PF")]
    Physical,
    /// Virtual function.
    #[serde(rename = "VF")]
    Virtual,
}

impl PciFunction {
    /// Returns the name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Physical => "PF",
            Self::Virtual => "VF",
        }
    }
}

/// Numbers of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelsReport {
    /// Queues that only receive.
    pub rx: u32,
    /// Queues that only send.
    pub tx: u32,
    /// Pairs of both.
    pub combined: u32,
    /// The largest number of pairs.
    pub combined_max: u32,
}

impl From<Channels> for ChannelsReport {
    fn from(channels: Channels) -> Self {
        Self {
            rx: channels.rx.current,
            tx: channels.tx.current,
            combined: channels.combined.current,
            combined_max: channels.combined.maximum,
        }
    }
}

/// Sizes of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RingsReport {
    /// Receive ring.
    pub rx: u32,
    /// Its maximum.
    pub rx_max: u32,
    /// Send ring.
    pub tx: u32,
    /// Its maximum.
    pub tx_max: u32,
}

impl From<Rings> for RingsReport {
    fn from(rings: Rings) -> Self {
        Self {
            rx: rings.rx.current,
            rx_max: rings.rx.maximum,
            tx: rings.tx.current,
            tx_max: rings.tx.maximum,
        }
    }
}

/// Settings that decide about XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OffloadsReport {
    /// Large receive offload.
    pub lro: bool,
    /// Generic receive offload in hardware.
    pub hw_gro: bool,
    /// TCP data split.
    pub tcp_data_split: bool,
    /// Striding receive queues (mlx5). `None`: the driver has no such setting.
    pub striding_receive_queues: Option<bool>,
    /// Stripping of VLAN tags. `None`: the driver does not say.
    pub vlan_stripping: Option<bool>,
}

/// An attached XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramReport {
    /// Its kernel id.
    pub id: u32,
    /// `Foreign` if the agent does not own it.
    pub mode: NicMode,
}

/// The interface that a NIC is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MasterReport {
    /// Its name.
    pub name: String,
    /// Its kind, as `ip -details link` shows it.
    pub kind: String,
}

impl PreflightReport {
    /// Renders the report as text for people.
    pub fn table(&self) -> String {
        table::render(self)
    }
}

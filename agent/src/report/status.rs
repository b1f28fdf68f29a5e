//! `xdp-agent status`: what is programmed on this node, read from the kernel. Needs no running agent.

use serde::Serialize;
use xdp_core::tables::Count;
use xdp_crds::NicMode;
use xdp_plan::{
    facts::{NotReady, Readiness},
    report::Problem,
};

mod build;
mod collect;
mod table;
#[cfg(test)]
mod tests;
mod usage;

use std::{collections::BTreeMap, net::IpAddr};

pub(crate) use collect::without_rules;
pub use collect::{StatusError, collect};

/// The output of `xdp-agent status`, and its JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The pin directory.
    pub pin_dir: String,
    /// The agent process.
    pub agent: AgentStatus,
    /// NICs to which the program is attached, or which have a problem.
    pub nics: Vec<NicStatus>,
    /// Target pods.
    pub pods: Vec<TargetPodStatus>,
    /// Rules with their counters.
    pub rules: Vec<RuleStatus>,
    /// Packets that passed without rule evaluation, by reason. Zero counts are left out.
    pub unparsed: BTreeMap<&'static str, u64>,
    /// Packets to pods in frames that the node's stack does not take from the NIC, by reason. Zero counts
    /// are left out.
    pub foreign: BTreeMap<&'static str, u64>,
    /// Packets that were dropped because they cannot be parsed and a rule that drops could match them, by
    /// reason. Zero counts are left out.
    pub unparsed_drops: BTreeMap<&'static str, u64>,
    /// Packets that a Redirect rule passed to the stack, by reason. Zero counts are left out.
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// Events of rejected and limited packets, by name. Zero counts are left out.
    pub events: BTreeMap<&'static str, u64>,
    /// The flow tables.
    pub flows: Vec<FlowUsage>,
    /// Events of flows and their packets, by name. Zero counts are left out.
    pub flow_events: BTreeMap<&'static str, u64>,
    /// The other tables.
    pub tables: Vec<TableUsage>,
    /// Packets that the kernel discarded after the program had returned, by NIC and XDP action.
    pub exceptions: Vec<XdpException>,
    /// Problems, except those of the NICs above.
    pub problems: Vec<Problem>,
}

/// The agent process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// Whether an agent uses the pin directory.
    pub running: bool,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NicStatus {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Its driver.
    pub driver: String,
    /// Its bus address.
    pub bus: String,
    /// Its MTU.
    pub mtu: u32,
    /// The XDP mode.
    pub mode: NicMode,
    /// Kernel id of the attached program, 0 if there is none.
    pub program_id: u32,
    /// The kernel's tag of the attached program, empty if there is none.
    pub program_tag: String,
    /// Whether the program for delivery `Peer` is attached.
    pub peer: bool,
    /// Whether the program of the reply path is attached.
    pub reply_path: bool,
    /// Its problems.
    pub problems: Vec<Problem>,
}

/// A target pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetPodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid, empty if it has none.
    pub uid: String,
    /// Its slot in the tables.
    pub slot: u32,
    /// Index of its host-side interface.
    pub ifindex: u32,
    /// Name of its host-side interface.
    pub interface: String,
    /// Link-layer address of the interface in the pod.
    pub mac: String,
    /// Addresses that lead to the pod, as in the tables.
    pub addresses: Vec<IpAddr>,
    /// Whether the pod can take redirected packets.
    pub readiness: Readiness,
    /// Why packets cannot be delivered with delivery `Peer`, if so.
    pub peer: Option<NotReady>,
    /// Whether the reply path works. Without it, no packet is redirected to the pod.
    pub reply_path: Readiness,
    /// Whether the pod is draining: no rule redirects to it any more, and existing flows continue until they
    /// are idle.
    pub draining: bool,
    /// Whether its rules apply: its addresses lead to a slot with rules and an existing device.
    pub programmed: bool,
    /// Number of times that its rules were replaced.
    pub generation: u32,
    /// Redirected packets that did not arrive at the pod.
    pub failures: Vec<RedirectFailure>,
}

/// Redirected packets that did not arrive at the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedirectFailure {
    /// `redirect` (refused by the driver's call) or `flush` (lost when the bulk queue was sent).
    pub stage: &'static str,
    /// Name of the errno; empty if the kernel reported none (ring full, or longer than the pod's MTU).
    pub errno: String,
    /// Number of packets.
    pub packets: u64,
}

/// A rule and its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Its id in metadata and tables.
    pub id: u32,
    /// Namespace of its policy.
    pub namespace: String,
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub rule: String,
    /// Redirected to the pod's device.
    pub redirected: PacketCount,
    /// Passed, because the rule says so.
    pub passed: PacketCount,
    /// Dropped, because the rule says so.
    pub dropped: PacketCount,
    /// Rejected; the sender got an answer, if one could be sent.
    pub rejected: PacketCount,
    /// Dropped, because the rule's rate limit was exceeded.
    pub limited: PacketCount,
    /// Passed because of `enforcement: Audit`.
    pub audited: PacketCount,
    /// Passed to the stack, although the rule says Redirect.
    pub fell_back: PacketCount,
    /// Seen by the reader in the pod.
    pub delivered: PacketCount,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PacketCount {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<Count> for PacketCount {
    fn from(Count { packets, bytes }: Count) -> Self {
        Self { packets, bytes }
    }
}

/// The usage of a flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FlowUsage {
    /// `established`, `unreplied` or `stack`.
    pub table: &'static str,
    /// Flows in it.
    pub used: u64,
    /// Its capacity.
    pub capacity: u64,
    /// Evicted flows. Those of `unreplied` are counted with those of `established`.
    pub evicted: u64,
}

/// The usage of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TableUsage {
    /// Its name.
    pub table: &'static str,
    /// Elements in use.
    pub used: u64,
    /// Elements that policies may use.
    pub capacity: u64,
}

/// Packets that the kernel discarded after the program had returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct XdpException {
    /// Name of the NIC, or its index if it is gone.
    pub nic: String,
    /// The XDP action that the program had returned.
    pub action: String,
    /// Number of packets.
    pub packets: u64,
}

impl NodeStatus {
    /// Renders the status as tables, at most 100 columns wide unless names are longer.
    pub fn table(&self) -> String {
        table::render(self)
    }
}

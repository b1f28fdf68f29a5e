//! What is in force on this node, read from the kernel: works while the agent is stopped.

use serde::Serialize;
use xdp_core::tables::Count;
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

pub(crate) use build::{mode, nic_name};
pub use collect::{StatusError, collect};

use crate::node::nic::NicProblem;

/// Everything `xdp-agent status` shows; this is also its JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Where the agent's pins are.
    pub pin_dir: String,
    /// The process.
    pub agent: AgentStatus,
    /// NICs with our program, or that should have it.
    pub nics: Vec<NicStatus>,
    /// Target pods.
    pub pods: Vec<PodStatus>,
    /// Rules with their counters.
    pub rules: Vec<RuleStatus>,
    /// Packets no rule was asked about, by reason; only what happened.
    pub unparsed: BTreeMap<&'static str, u64>,
    /// Packets that a Redirect rule passed, by reason; only what happened.
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// What else happened to rejected and limited packets, by name; only what happened.
    pub events: BTreeMap<&'static str, u64>,
    /// The tables of flows whose packets go past the stack both ways.
    pub flows: Vec<FlowUsage>,
    /// What happened to flows and their packets, by name; only what happened.
    pub flow_events: BTreeMap<&'static str, u64>,
    /// How full the tables are.
    pub tables: Vec<TableUsage>,
    /// Packets the kernel gave up on, by NIC and XDP action.
    pub exceptions: Vec<XdpException>,
    /// What the agent could not do, other than on a NIC above.
    pub problems: Vec<Problem>,
}

/// The agent's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// Whether one works in the pin directory.
    pub running: bool,
}

/// What XDP really does on a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Our program, in the driver.
    Native,
    /// Our program, but not in the driver: packets redirected with delivery `Redirect` lose their metadata.
    Generic,
    /// No program.
    None,
    /// Somebody else's program.
    Foreign,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NicStatus {
    /// Its name; empty if it is gone.
    pub name: String,
    /// Its index; 0 if it is gone.
    pub ifindex: u32,
    /// Its driver.
    pub driver: String,
    /// Its bus address.
    pub bus: String,
    /// Its MTU.
    pub mtu: u32,
    /// What is attached.
    pub mode: Mode,
    /// Kernel id of the attached program, 0 if there is none.
    pub program_id: u32,
    /// The kernel's tag of the attached program, empty if there is none.
    pub program_tag: String,
    /// Whether the program for delivery `Peer` is attached.
    pub peer: bool,
    /// Whether the program of the reply path is attached.
    pub reply_path: bool,
    /// What is in the way.
    pub problems: Vec<NicProblem>,
}

/// A target pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid, empty if it has none.
    pub uid: String,
    /// Its index in the tables.
    pub slot: u32,
    /// The host's end of its pair.
    pub ifindex: u32,
    /// Name of that.
    pub interface: String,
    /// Link-layer address of the pod's end.
    pub mac: String,
    /// Addresses that lead to it, as the tables have them.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes redirects.
    pub readiness: Readiness,
    /// Why it cannot be delivered to behind the NIC's stack entry, if it cannot.
    pub peer: Option<NotReady>,
    /// Whether its replies go past the stack, as they must if packets to it are to be redirected.
    pub reply_path: Readiness,
    /// Nothing redirects to it any more; flows that were taken go on until they are quiet.
    pub draining: bool,
    /// Whether packets meet its rules: its addresses lead to a slot with rules and a living device.
    pub programmed: bool,
    /// How often its rules were exchanged.
    pub generation: u32,
    /// Redirected packets that did not arrive.
    pub failures: Vec<RedirectFailure>,
}

/// Redirected packets that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedirectFailure {
    /// `redirect` (refused in the driver's call) or `flush` (lost with the bulk queue).
    pub stage: &'static str,
    /// Name of the errno; empty if the kernel gave none (ring full, or longer than the pod's MTU).
    pub errno: String,
    /// How many.
    pub packets: u64,
}

/// A rule and what became of its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Its number in metadata and tables.
    pub id: u32,
    /// Namespace of its policy.
    pub namespace: String,
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub rule: String,
    /// Handed to the pod's device.
    pub redirected: PacketCount,
    /// Passed, because the rule says so.
    pub passed: PacketCount,
    /// Dropped, because the rule says so.
    pub dropped: PacketCount,
    /// Rejected: the sender was told, as far as it could be.
    pub rejected: PacketCount,
    /// Dropped, because the rule's rate limit was exceeded.
    pub limited: PacketCount,
    /// Audit: passed, would have been acted upon.
    pub audited: PacketCount,
    /// Passed, although the rule says Redirect.
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

/// A table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FlowUsage {
    /// `established`: answered; `unreplied`: not answered yet; `stack`: the stack's.
    pub table: &'static str,
    /// Flows in it.
    pub used: u64,
    /// Flows that it can hold.
    pub capacity: u64,
    /// Flows that others have pushed out; those of `unreplied` are counted with those of `established`.
    pub evicted: u64,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TableUsage {
    /// Its name.
    pub table: &'static str,
    /// Elements in use.
    pub used: u64,
    /// Elements that policies may use.
    pub capacity: u64,
}

/// Packets the kernel gave up on after our program had returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct XdpException {
    /// Name of the NIC, or its index if it is gone.
    pub nic: String,
    /// What the program had said.
    pub action: String,
    /// How many.
    pub packets: u64,
}

impl NodeStatus {
    /// For machines.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it cannot: strings, numbers and maps with text keys"
    )]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and maps with text keys")
    }

    /// For people, at most 100 columns wide where names allow.
    pub fn table(&self) -> String {
        table::render(self)
    }
}

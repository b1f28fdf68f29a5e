//! Reads a snapshot of the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use xdp_core::tables::{Count, FailureKey, RuleCounters};
use xdp_plan::{
    hook::Hook,
    installed::Installed,
    nics::{Driver, HostLink},
    report::Problem,
};

use crate::{
    datapath::{FlowTable, NicProgram, OpenError, Pinned},
    node::{
        ethtool,
        netlink::{NetlinkError, host_links},
    },
    report::status::{NodeStatus, build},
};

/// The status could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The pinned tables.
    #[error(transparent)]
    Tables(#[from] OpenError),
    /// The interfaces.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// What the kernel holds at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct KernelSnapshot {
    pub(super) pin_dir: String,
    pub(super) running: bool,
    pub(super) installed: Installed,
    /// Number of rules.
    pub(super) rules: usize,
    pub(super) counters: BTreeMap<u32, (RuleCounters, Count)>,
    pub(super) events: BTreeMap<u32, Count>,
    pub(super) failures: BTreeMap<FailureKey, u64>,
    pub(super) problems: Vec<Problem>,
    /// Programs in the agent's links on NICs, by interface index.
    pub(super) programs: BTreeMap<u32, NicProgram>,
    /// NICs with the program for delivery `Peer`.
    pub(super) peers: BTreeSet<u32>,
    /// NICs with the program of the reply path.
    pub(super) reply_paths: BTreeSet<u32>,
    pub(super) links: Vec<HostInterface>,
    /// The state of each flow table.
    pub(super) flows: BTreeMap<FlowTable, FlowTableState>,
}

/// Elements and capacity of a flow table, and how many elements the agent has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FlowTableState {
    pub(super) used: u64,
    pub(super) capacity: u64,
    pub(super) removed: u64,
}

/// An interface of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostInterface {
    pub(super) link: HostLink,
    pub(super) driver: Driver,
    /// Tag of the program that is attached.
    pub(super) tag: Option<u64>,
}

/// Reads the status of a pin directory.
pub fn collect(pin_dir: &Path) -> Result<NodeStatus, StatusError> {
    let pinned = Pinned::open(pin_dir)?;
    let mut snapshot = snapshot(&pinned)?;
    snapshot.installed.rules = pinned.rule_labels();
    for rule in snapshot.installed.rules.keys() {
        let counters = (pinned.rule_counters(*rule)?, pinned.delivered(*rule)?);
        snapshot.counters.insert(*rule, counters);
    }
    Ok(build::status(&snapshot))
}

/// Reads the status without rules, which can be tens of thousands.
pub(crate) fn without_rules(pinned: &Pinned) -> Result<NodeStatus, StatusError> {
    Ok(build::status(&snapshot(pinned)?))
}

fn snapshot(pinned: &Pinned) -> Result<KernelSnapshot, StatusError> {
    let links = host_links()?;
    // Read before the elements are counted, so that new flows are not taken for evicted ones.
    let events = pinned.events()?;
    Ok(KernelSnapshot {
        pin_dir: pinned.pin_dir().display().to_string(),
        running: pinned.agent_running()?,
        installed: pinned.installed_without_rules()?,
        rules: pinned.rule_count(),
        counters: BTreeMap::new(),
        events,
        failures: pinned.failures()?,
        problems: pinned.problems()?,
        programs: pinned.nics()?,
        peers: pinned.hooks(Hook::NicPeer)?,
        reply_paths: pinned.hooks(Hook::NicOut)?,
        flows: flows(pinned)?,
        links: links.into_iter().map(|link| describe(pinned, link)).collect(),
    })
}

fn flows(pinned: &Pinned) -> Result<BTreeMap<FlowTable, FlowTableState>, OpenError> {
    let held = |table| {
        let held = FlowTableState {
            removed: pinned.flows_removed(table)?,
            used: pinned.flow_count(table)?,
            capacity: u64::from(pinned.flow_capacity(table)?),
        };
        Ok((table, held))
    };
    FlowTable::ALL.into_iter().map(held).collect()
}

fn describe(pinned: &Pinned, link: HostLink) -> HostInterface {
    HostInterface {
        driver: ethtool::driver(&link.name).unwrap_or_default(),
        tag: link.xdp.program_id.and_then(|id| pinned.program_tag(id)),
        link,
    }
}

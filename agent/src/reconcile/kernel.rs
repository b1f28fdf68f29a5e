//! The kernel as the loop uses it. A fake of it, in memory, is in the tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::warn;
use xdp_client::error_chain;
use xdp_core::tables::Address;
use xdp_plan::{
    change::{Change, ChangeResult},
    facts::{NodeFacts, NotReady, Pair, WantedAddresses},
    hook::AttachPoint,
    installed::{Attachments, HookState, Installed, RuleLabel},
    nics::NicFacts,
    node_state::TABLES,
    owners::Owners,
    report::Problem,
};

use crate::{
    datapath::{ApplyError, Datapath, FlowTable, OpenError, PodReading},
    node::{
        netlink::{
            NetlinkError, {self},
        },
        nic::nic_facts,
        system,
    },
};

/// What the loop needs of the kernel: facts, what is installed, changes, and flows.
pub(super) trait Kernel {
    /// Reads the pairs that reach into pods, and which of these addresses they carry.
    fn facts(&mut self, wanted: &WantedAddresses) -> Result<NodeFacts, Problem>;
    /// Reads the interfaces that may be NICs.
    fn nics(&mut self) -> Result<Vec<NicFacts>, Problem>;
    /// Returns the size of a page of memory.
    fn page_size(&self) -> u32;
    /// Whether the node's connection tracking picks up connections whose beginning it did not see; `None`:
    /// unknown.
    fn picks_up_connections(&self) -> Option<bool>;

    /// Reads the tables.
    fn tables(&mut self) -> Result<Installed, Problem>;
    /// Reads the tables after changes of what `before` holds.
    fn tables_after(&mut self, before: &Installed, changes: &[Change]) -> Result<Installed, Problem>;
    /// Reads all hooks.
    fn attachments(&mut self) -> Result<Attachments, Problem>;
    /// Reads one hook of an interface of the host.
    fn hook(&mut self, point: AttachPoint) -> HookState;
    /// Lists the ids of the programs at a tcx hook of an interface of the host, in their order: cheaper than
    /// [`Kernel::hook`].
    fn programs(&self, point: AttachPoint) -> Vec<u32>;
    /// Reads a pod's interface, and the hook of its reader.
    fn pod(&mut self, pair: &Pair) -> PodReading;
    /// Whether parked flow tables wait for their migration.
    fn is_migrating(&self) -> bool;

    /// Applies changes in their order, and returns one result for each.
    fn apply(&mut self, changes: &[Change]) -> Vec<ChangeResult<ChangeError>>;
    /// Makes readings from now on share the labels that are equal to these.
    fn share_labels(&mut self, rules: &BTreeSet<Arc<RuleLabel>>);
    /// Removes the counted failures of pods whose host's end is not in `live`.
    fn purge_failures(&mut self, live: &BTreeSet<u32>);

    /// Counts established flows by slot.
    fn count_flows(&mut self) -> Result<BTreeMap<u32, u64>, Problem>;
    /// Returns the number of packets of draining flows so far.
    fn drained(&mut self) -> Result<u64, Problem>;
    /// Removes the flows of addresses in `lost`, and those that do not belong to their owner. Returns their
    /// number.
    fn purge_flows(&mut self, owners: &Owners, lost: &BTreeSet<Address>) -> Result<u64, Problem>;
    /// Adapts the shares of the pods in these slots in the flow tables. Returns how many flows had no room.
    fn sweep_flows(&mut self, slots: &BTreeSet<u32>) -> Result<u64, Problem>;
}

/// Why a change was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangeError {
    /// The error with its causes.
    pub(super) message: String,
    /// The kernel's errno; 0 if it gave none.
    pub(super) errno: i32,
    /// What the kernel says about a refused attach, empty if nothing is known.
    pub(super) kernel_text: String,
    /// The step that failed, when a pod's GRO was to be switched on.
    pub(super) not_ready: Option<NotReady>,
}

impl From<ApplyError> for ChangeError {
    fn from(error: ApplyError) -> Self {
        let (errno, not_ready) = match &error {
            ApplyError::Attach(error) => (error.errno(), None),
            ApplyError::Gro { reason, .. } => (0, Some(*reason)),
            _ => (0, None),
        };
        let kernel_text = match &error {
            ApplyError::Attach(error) => error.kernel_text.clone(),
            _ => String::new(),
        };
        Self {
            message: error_chain(&error),
            errno,
            kernel_text,
            not_ready,
        }
    }
}

impl Kernel for Datapath {
    fn facts(&mut self, wanted: &WantedAddresses) -> Result<NodeFacts, Problem> {
        self.read_facts(wanted).map_err(|error| {
            let remedy = "the agent asks again by itself; what is programmed stays so";
            Problem::new("interfaces", "NetlinkFailed", error_chain(&error), remedy)
        })
    }

    fn nics(&mut self) -> Result<Vec<NicFacts>, Problem> {
        let facts = netlink::host_links().and_then(|links| nic_facts(&links));
        let mut facts = facts.map_err(|error: NetlinkError| {
            let remedy = "the agent asks again by itself; see the kernel log if it stays";
            Problem::new("NICs", "NetlinkFailed", error_chain(&error), remedy)
        })?;
        for nic in &mut facts {
            let id = nic.link.xdp.program_id;
            nic.program_tag = id.and_then(|id| self.pinned().program_tag(id));
        }
        Ok(facts)
    }

    fn page_size(&self) -> u32 {
        system::page_size()
    }

    fn picks_up_connections(&self) -> Option<bool> {
        system::picks_up_connections()
    }

    fn tables(&mut self) -> Result<Installed, Problem> {
        self.installed().map_err(|error| tables_unreadable(&error))
    }

    fn tables_after(&mut self, before: &Installed, changes: &[Change]) -> Result<Installed, Problem> {
        self.pinned()
            .installed_after(before, changes)
            .map_err(|error| tables_unreadable(&error))
    }

    fn attachments(&mut self) -> Result<Attachments, Problem> {
        let read = Self::attachments(self);
        read.map_err(|error| {
            Problem::new(
                "NICs",
                "PinsUnreadable",
                error_chain(&error),
                "check the pin directory",
            )
        })
    }

    fn hook(&mut self, point: AttachPoint) -> HookState {
        self.read_hook(point)
    }

    fn programs(&self, point: AttachPoint) -> Vec<u32> {
        self.tcx_programs(point)
    }

    fn pod(&mut self, pair: &Pair) -> PodReading {
        self.read_pod(pair)
    }

    fn is_migrating(&self) -> bool {
        self.migrating()
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<ChangeResult<ChangeError>> {
        let results = Self::apply(self, changes).into_iter();
        let result = |result| match result {
            ChangeResult::Applied => ChangeResult::Applied,
            ChangeResult::Skipped => ChangeResult::Skipped,
            ChangeResult::Failed(error) => ChangeResult::Failed(ChangeError::from(error)),
        };
        results.map(result).collect()
    }

    fn share_labels(&mut self, rules: &BTreeSet<Arc<RuleLabel>>) {
        Self::share_labels(self, rules);
    }

    fn purge_failures(&mut self, live: &BTreeSet<u32>) {
        if let Err(error) = self.prune_failures(live) {
            warn!(error = %error_chain(&error), "cannot remove the failures of pods that are gone");
        }
    }

    fn count_flows(&mut self) -> Result<BTreeMap<u32, u64>, Problem> {
        let mut flows = BTreeMap::new();
        let batches = self
            .pinned()
            .flows(FlowTable::Established)
            .map_err(|error| flows_unreadable(&error))?;
        for batch in batches {
            for slot in batch
                .map_err(|error| flows_unreadable(&error))?
                .into_iter()
                .filter_map(|entry| entry.slot)
            {
                *flows.entry(slot).or_default() += 1;
            }
        }
        Ok(flows)
    }

    fn drained(&mut self) -> Result<u64, Problem> {
        self.pinned().drained().map_err(|error| flows_unreadable(&error))
    }

    fn purge_flows(&mut self, owners: &Owners, lost: &BTreeSet<Address>) -> Result<u64, Problem> {
        Self::purge_flows(self, owners, lost, false).map_err(|error| flows_unreadable(&error))
    }

    fn sweep_flows(&mut self, slots: &BTreeSet<u32>) -> Result<u64, Problem> {
        Self::sweep_flows(self, slots).map_err(|error| flows_unreadable(&error))
    }
}

fn tables_unreadable(error: &OpenError) -> Problem {
    let remedy = "run `xdp-agent uninstall` and start the agent again: it makes new tables";
    Problem::new(TABLES, "TablesUnreadable", error_chain(error), remedy)
}

/// The problem of flows that cannot be read or written.
fn flows_unreadable(error: &OpenError) -> Problem {
    unreadable_flows(error_chain(error))
}

pub(super) fn unreadable_flows(message: String) -> Problem {
    let remedy = "the agent tries again by itself; flows that are lost go on in the stack";
    Problem::new("flows", "FlowsUnreadable", message, remedy)
}

//! A kernel in memory: tables and attached programs, failures on demand, a crash after any change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_core::tables::Address;
use xdp_plan::{
    change::{Change, ChangeResult, apply_in_order},
    facts::{NodeFacts, NotReady, Pair, WantedAddresses},
    hook::{AttachPoint, Hook},
    installed::{Attachments, Gro, HookState, Installed, OtherProgram, PodInterface, Program, RuleLabel},
    nics::{NicFacts, XdpMode, XdpState},
    owners::Owners,
    report::Problem,
    testing::model::TableModel,
};

use crate::{
    datapath::PodReading,
    reconcile::kernel::{ChangeError, Kernel},
};

/// Whether the kernel refuses a change.
pub(super) type Refuses = fn(&Change) -> bool;

#[derive(Clone)]
pub(super) struct FakeKernel {
    pub(super) model: TableModel,
    pub(super) facts: NodeFacts,
    pub(super) nics: Vec<NicFacts>,
    /// The NICs cannot be listed.
    pub(super) nics_fail: bool,
    /// Programs of other owners that run before the agent's.
    pub(super) others: BTreeMap<AttachPoint, Vec<OtherProgram>>,
    /// Pods whose namespace cannot be entered.
    pub(super) unreachable: BTreeSet<u32>,
    /// Pods whose replies leave by another interface.
    pub(super) other_exits: BTreeMap<u32, String>,
    pub(super) refuses: Refuses,
    /// The errno of a refusal.
    pub(super) errno: i32,
    /// The agent is killed after this number of changes.
    pub(super) dies_after: Option<usize>,
    /// This interface is deleted before the next change.
    pub(super) deletes: Option<u32>,
    /// Every change that was tried, and whether it was applied.
    pub(super) log: Vec<(Change, bool)>,
    /// How often interfaces and hooks were read as a whole.
    pub(super) full_reads: usize,
    deleted: BTreeSet<u32>,
    fence_due: bool,
}

impl FakeKernel {
    pub(super) fn new(facts: NodeFacts, nics: Vec<NicFacts>) -> Self {
        Self {
            model: TableModel::default(),
            facts,
            nics,
            nics_fail: false,
            others: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            other_exits: BTreeMap::new(),
            refuses: |_| false,
            errno: libc::ENOSPC,
            dies_after: None,
            deletes: None,
            log: Vec::new(),
            full_reads: 0,
            deleted: BTreeSet::new(),
            fence_due: false,
        }
    }

    /// What was tried since the last call.
    pub(super) fn take_log(&mut self) -> Vec<(Change, bool)> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn program(&self, hook: Hook, ifindex: u32) -> Program {
        let point = AttachPoint::new(hook, ifindex);
        self.model.installed.attachments.program(point)
    }

    /// An interface goes, and its programs with it; their pins stay.
    pub(super) fn delete(&mut self, ifindex: u32) {
        self.deleted.insert(ifindex);
        self.facts.pairs.retain(|pair| pair.host.ifindex != ifindex);
        self.nics.retain(|nic| nic.link.ifindex != ifindex);
        for (point, state) in &mut self.model.installed.attachments.hooks {
            if point.ifindex == ifindex {
                *state = Arc::new(HookState {
                    program: Program::Stale,
                    ..HookState::default()
                });
            }
        }
        self.model.installed.attachments.pods.remove(&ifindex);
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), ChangeError> {
        if let Some(ifindex) = self.deletes.take() {
            self.delete(ifindex);
        }
        let dead = self.dies_after == Some(0);
        let errno = match () {
            () if dead => Some(libc::EINTR),
            () if self.is_gone(change) => Some(libc::ENODEV),
            () if (self.refuses)(change) => Some(self.errno),
            () => None,
        };
        if !dead {
            self.log.push((change.clone(), errno.is_none()));
        }
        if let Some(errno) = errno {
            self.fence_due |= *change == Change::Fence;
            return Err(ChangeError {
                message: format!("refused with errno {errno}"),
                errno,
                kernel_text: String::new(),
                not_ready: matches!(change, Change::SetGro { .. }).then_some(NotReady::GroRefused),
            });
        }
        self.dies_after = self.dies_after.map(|changes| changes - 1);
        if std::mem::take(&mut self.fence_due) {
            self.model.apply_one(&Change::Fence);
        }
        self.model.apply_one(change);
        if let Change::MoveFirst { point, .. } = change {
            self.others.remove(point);
        }
        if self.deleted.is_empty() {
            assert_eq!(self.model.dangling(), Vec::<String>::new(), "after {change:?}");
        }
        Ok(())
    }

    fn is_gone(&self, change: &Change) -> bool {
        let ifindex = match change {
            Change::Attach { point, .. }
            | Change::Replace { point, .. }
            | Change::MoveFirst { point, .. } => Some(point.ifindex),
            Change::Probe { interface, .. } => Some(interface.ifindex),
            Change::SetGro { host, .. } => Some(*host),
            Change::SetDevice { ifindex, .. } => Some(*ifindex),
            _ => None,
        };
        ifindex.is_some_and(|ifindex| self.deleted.contains(&ifindex))
    }

    fn state(&self, point: AttachPoint) -> HookState {
        let state = self.model.installed.attachments.hooks.get(&point);
        HookState {
            before: self.others.get(&point).cloned().unwrap_or_default(),
            ..state.map(|state| HookState::clone(state)).unwrap_or_default()
        }
    }
}

impl Kernel for FakeKernel {
    fn facts(&mut self, _: &WantedAddresses) -> Result<NodeFacts, Problem> {
        self.full_reads += 1;
        Ok(self.facts.clone())
    }

    fn nics(&mut self) -> Result<Vec<NicFacts>, Problem> {
        if self.nics_fail {
            return Err(Problem::new("NICs", "NetlinkFailed", "", ""));
        }
        let mut nics = self.nics.clone();
        for nic in &mut nics {
            let state = self.state(AttachPoint::new(Hook::Nic, nic.link.ifindex));
            if state.program.is_attached() {
                nic.link.xdp = XdpState {
                    mode: XdpMode::Native,
                    program_id: state.program_id,
                };
            }
        }
        Ok(nics)
    }

    fn page_size(&self) -> u32 {
        4096
    }

    fn picks_up_connections(&self) -> Option<bool> {
        None
    }

    fn tables(&mut self) -> Result<Installed, Problem> {
        Ok(Installed {
            attachments: Attachments::default(),
            ..self.model.installed.clone()
        })
    }

    fn tables_after(&mut self, _: &Installed, _: &[Change]) -> Result<Installed, Problem> {
        self.tables()
    }

    fn attachments(&mut self) -> Result<Attachments, Problem> {
        let Attachments {
            hooks,
            gro_notes,
            noted,
            migrating,
            ..
        } = self.model.installed.attachments.clone();
        Ok(Attachments {
            hooks: hooks
                .into_keys()
                .map(|point| (point, Arc::new(self.state(point))))
                .collect(),
            pods: BTreeMap::new(),
            gro_notes,
            noted,
            migrating,
        })
    }

    fn hook(&mut self, point: AttachPoint) -> HookState {
        self.state(point)
    }

    fn programs(&self, point: AttachPoint) -> Vec<u32> {
        let state = self.state(point);
        let others = state.before.iter().map(|other| match other {
            OtherProgram::Program { id } => *id,
            OtherProgram::Filter { .. } => panic!("a filter in a tcx hook"),
        });
        others.chain(state.program_id).collect()
    }

    fn pod(&mut self, pair: &Pair) -> PodReading {
        let host = pair.host.ifindex;
        let read = self.model.installed.attachments.pods.get(&host);
        let gro = read.map_or(Ok(Gro::Off), |pod| pod.gro.clone());
        let unreachable = self.unreachable.contains(&host).then(|| "no way in".to_owned());
        PodReading {
            interface: PodInterface {
                unreachable,
                other_exit: self.other_exits.get(&host).cloned(),
                gro,
            },
            reader: self.state(AttachPoint::new(Hook::PodReader, host)),
        }
    }

    fn is_migrating(&self) -> bool {
        self.model.installed.attachments.migrating
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<ChangeResult<ChangeError>> {
        apply_in_order(changes, |change| self.apply_one(change))
    }

    fn share_labels(&mut self, _: &BTreeSet<Arc<RuleLabel>>) {}

    fn purge_failures(&mut self, _: &BTreeSet<u32>) {}

    fn count_flows(&mut self) -> Result<BTreeMap<u32, u64>, Problem> {
        Ok(BTreeMap::new())
    }

    fn drained(&mut self) -> Result<u64, Problem> {
        Ok(0)
    }

    fn purge_flows(&mut self, _: &Owners, _: &BTreeSet<Address>) -> Result<u64, Problem> {
        Ok(0)
    }

    fn sweep_flows(&mut self, _: &BTreeSet<u32>) -> Result<u64, Problem> {
        Ok(0)
    }
}

//! The door to the kernel's BPF side; the only module that names aya.
//!
//! Everything is pinned below one directory of a bpffs, and everything is read back from there: this module
//! remembers no more than what texts mean, and of which pods it has noted the connections. Opening adopts
//! what it finds; only `uninstall` detaches.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use xdp_plan::{
    connections::NotedPods,
    facts::{NodeFacts, WantedAddresses},
    installed::{Installed, RuleLabel},
};

use crate::node::{
    netlink::{FactsReader, Interests, NetlinkError},
    netns::Namespaces,
};

mod error;
mod flows;
mod hooks;
mod kernel;
mod pinned;
mod programs;
mod tables;
mod uninstall;
mod upgrade;

pub use error::{ApplyError, AttachError, AttachStep, OpenError};
pub use flows::{FlowBatches, FlowEntry, FlowTable};
use flows::{migrate::Migration, shares::Sweeper};
pub use hooks::{
    link::Attached,
    read::PodReading,
    reader::{PodEnd, detach_clsact},
};
pub use kernel::sys::ProgramStats;
pub(crate) use kernel::sys::has_tcx;
use kernel::{lock::Lock, pins::Pins};
pub use pinned::{NicProgram, Pinned};
use programs::Programs;
pub use programs::{
    explain::{Explainer, ExplainerError},
    test_run::{ClassifierRun, RepeatedRun, Runner, TestRunError, TestRunResult, TestSkb},
};
use tables::PinnedTables;
pub use tables::config::{REJECTS_PER_SECOND, Settings};
pub use uninstall::{Uninstall, Uninstalled};

/// The data path of one pin directory, held by one agent.
pub struct Datapath {
    pinned: Pinned,
    programs: Programs,
    migration: Option<Migration>,
    namespaces: Namespaces,
    facts: FactsReader,
    interests: Interests,
    noted: NotedPods,
    sweeper: Sweeper,
    fence_due: bool,
    _lock: Lock,
}

impl Datapath {
    /// As [`Datapath::open_with`], with the settings that hold unless something else is said.
    pub fn open(pin_dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(pin_dir, Settings::default())
    }

    /// Loads the embedded programs over the pinned maps, which are created where they are missing, and
    /// attaches the tracepoint programs. NICs, readers and the like are attached by the caller, or stay
    /// attached as they are.
    pub fn open_with(pin_dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let pins = Pins::new(pin_dir);
        pins.create()?;
        let lock = Lock::take(pin_dir)?;
        flows::migrate::park(&pins, settings.flows)?;
        let mut programs = Programs::load(&pins, settings.flows)?;
        let mut tables = PinnedTables::open(&pins)?;
        tables::config::write(&pins, &mut tables, settings)?;
        tables.shares.initialize(settings.flows)?;
        upgrade::adopt(&pins)?;
        let migration = Migration::open(&pins)?;
        hooks::tracepoint::attach(&pins, &mut programs)?;
        // An agent that was killed during a reconcile may have replaced what a running program still reads.
        kernel::sys::fence().map_err(OpenError::Fence)?;
        Ok(Self {
            pinned: Pinned::new(pins, tables),
            programs,
            migration,
            namespaces: Namespaces::default(),
            facts: FactsReader::default(),
            interests: Interests::default(),
            noted: NotedPods::default(),
            sweeper: Sweeper::default(),
            fence_due: false,
            _lock: lock,
        })
    }

    /// Returns which addresses in pods matter; a [`crate::node::netlink::Monitor`] reports their changes.
    pub fn interests(&self) -> Interests {
        self.interests.clone()
    }

    /// Reads the pairs that reach into pods. Changes from now on are reported, as far as they matter.
    pub fn read_facts(&mut self, wanted: &WantedAddresses) -> Result<NodeFacts, NetlinkError> {
        self.interests.set(wanted);
        self.facts.read(Some(wanted))
    }

    /// The reading side.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// What the tables hold.
    pub fn installed(&self) -> Result<Installed, OpenError> {
        self.pinned.installed()
    }

    /// Makes readings from now on share the labels that are equal to these.
    pub fn share_labels(&self, wanted: &BTreeSet<Arc<RuleLabel>>) {
        self.pinned.rule_labels.share(wanted);
    }
}

//! The door to the kernel's BPF side; the only module that names aya.
//!
//! Everything is pinned below one directory of a bpffs, and everything is read back from there: this module remembers
//! no more than what texts mean. Opening adopts what it finds; only `uninstall` detaches.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use xdp_plan::installed::{Installed, RuleLabel};

mod apply;
mod beside;
mod carry;
mod classifier;
mod config;
mod embedded;
mod error;
mod explain;
mod flows;
mod hand_over;
mod hooks;
mod labels;
mod links;
mod lock;
mod nic;
mod older;
mod peer;
mod pinned;
mod pins;
mod programs;
mod raw;
mod reader;
mod region;
mod sys;
mod tables;
mod test_run;
mod tracepoints;
mod uninstall;

pub use apply::Outcome;
pub use classifier::Attachment;
pub use config::{REJECTS_PER_SECOND, Settings};
pub use error::{ApplyError, AttachError, AttachStep, OpenError};
pub use explain::{ExplainError, Explainer};
pub use flows::{FlowEntry, FlowTable, Flows};
pub use hooks::Hook;
pub use links::Attached;
pub use pinned::{NicProgram, Pinned};
pub use reader::{PodEnd, detach_clsact};
pub use test_run::{Classified, ProgramStats, Ran, Repeated, Runner, Skb, TestRunError};
pub use uninstall::{Uninstall, Uninstalled};

use carry::Carry;
use lock::Lock;
use pins::Pins;
use programs::Programs;
use tables::Tables;

/// The data path of one pin directory, held by one agent.
pub struct Datapath {
    pinned: Pinned,
    programs: Programs,
    carry: Option<Carry>,
    _lock: Lock,
}

impl Datapath {
    /// As [`Datapath::open_with`], with the settings that hold unless something else is said.
    pub fn open(pin_dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(pin_dir, Settings::default())
    }

    /// Loads the embedded programs over the pinned maps, which are created where they are missing, and attaches the
    /// tracepoint programs. NICs, readers and the like are attached by the caller, or stay attached as they are.
    pub fn open_with(pin_dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let pins = Pins::new(pin_dir);
        pins.create()?;
        let lock = Lock::take(pin_dir)?;
        carry::set_aside(&pins, settings.flows)?;
        let mut programs = Programs::load(&pins, settings.flows)?;
        let mut tables = Tables::open(&pins)?;
        config::write(&pins, &mut tables, settings)?;
        older::adopt(&pins)?;
        let carry = Carry::open(&pins)?;
        tracepoints::attach(&pins, &mut programs)?;
        // An agent killed in mid-round may have replaced what a running program still reads.
        sys::fence().map_err(OpenError::Fence)?;
        Ok(Self {
            pinned: Pinned::new(pins, tables),
            programs,
            carry,
            _lock: lock,
        })
    }

    /// The reading side.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// What the tables hold.
    pub fn installed(&self) -> Result<Installed, OpenError> {
        self.pinned.installed()
    }

    /// Says which labels whoever compares holds: readings from now on share those among them that are equal.
    pub fn share_labels(&self, wanted: &BTreeSet<Arc<RuleLabel>>) {
        self.pinned.rule_labels.share(wanted);
    }
}

//! Loads the embedded object over the pinned maps. What is attached stays as it is.

mod embedded;
pub(in crate::datapath) mod explain;
pub(in crate::datapath) mod loaded;
pub(in crate::datapath) mod test_run;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    programs::{ProgramError, RawTracePoint, SchedClassifier, Xdp},
};
use xdp_client::error_chain;
use xdp_core::tables::programs;
use xdp_plan::hook::Hook;

use crate::datapath::{
    error::OpenError,
    kernel::{pins::Pins, sys::ProgramStats},
    programs::loaded::{LoadedProgram, load},
    tables,
};

const NAMES: [&str; 9] = [
    programs::NIC,
    programs::PEER,
    programs::READER,
    programs::POD_IN,
    programs::POD_OUT,
    programs::NIC_OUT,
    programs::REDIRECT_ERR,
    programs::DEVMAP_XMIT,
    programs::EXCEPTION,
];

/// The loaded programs.
pub(super) struct Programs {
    ebpf: Ebpf,
    loaded: BTreeMap<Hook, LoadedProgram>,
    /// Programs of the reply path that the kernel refused, with the error. Everything else works without
    /// them.
    refused: BTreeMap<Hook, String>,
    /// Ids of the pinned maps.
    maps: BTreeSet<u32>,
}

/// Classifiers without which the agent does not start.
const NEEDED: [Hook; 2] = [Hook::PodReader, Hook::NicPeer];

impl Programs {
    /// Creates the maps that are not pinned yet, and loads the programs.
    pub(super) fn load(pins: &Pins, flows: u32) -> Result<Self, OpenError> {
        tables::check_shapes(pins)?;
        let mut ebpf = object(pins, flows)?;
        let maps = tables::ids(pins)?;
        let (mut loaded, mut refused) = (BTreeMap::new(), BTreeMap::new());
        let nic = load::<Xdp>(&mut ebpf, &maps, programs::NIC, Xdp::load)?;
        loaded.insert(Hook::Nic, nic);
        let mut load = |hook: Hook| load(&mut ebpf, &maps, hook.program(), SchedClassifier::load);
        for hook in NEEDED {
            loaded.insert(hook, load(hook)?);
        }
        for hook in Hook::REPLY_PATH {
            match load(hook) {
                Ok(program) => drop(loaded.insert(hook, program)),
                Err(error) => drop(refused.insert(hook, error_chain(&error))),
            }
        }
        Ok(Self {
            ebpf,
            loaded,
            refused,
            maps,
        })
    }

    /// Loads a raw tracepoint program.
    pub(super) fn tracepoint(&mut self, name: &'static str) -> Result<LoadedProgram, OpenError> {
        load::<RawTracePoint>(&mut self.ebpf, &self.maps, name, RawTracePoint::load)
    }

    /// Returns the program of a hook, or the error with which the kernel refused it.
    pub(super) fn loaded(&self, hook: Hook) -> io::Result<&LoadedProgram> {
        let refused = || self.refused.get(&hook).cloned().unwrap_or_default();
        let loaded = self.loaded.get(&hook);
        loaded.ok_or_else(|| io::Error::other(refused()))
    }

    /// Returns aya's handle of a classifier, for the attachment by netlink.
    pub(super) fn aya_classifier(&mut self, hook: Hook) -> Option<&mut SchedClassifier> {
        self.ebpf.program_mut(hook.program())?.try_into().ok()
    }

    /// Returns the verifier's statistics of all programs.
    pub(super) fn stats(&self) -> Result<Vec<ProgramStats>, ProgramError> {
        let stats = |name: &'static str| {
            let info = self.ebpf.program(name).ok_or(ProgramError::NotLoaded)?.info()?;
            Ok(ProgramStats {
                name,
                verified_instructions: info.verified_instruction_count(),
            })
        };
        NAMES.into_iter().map(stats).collect()
    }

    /// Returns aya's handle of a classifier, for test runs.
    pub(super) fn hook(&self, hook: Hook) -> Option<&SchedClassifier> {
        self.ebpf.program(hook.program())?.try_into().ok()
    }

    /// Returns aya's handle of the program on NICs, for test runs.
    pub(super) fn xdp(&self) -> Option<&Xdp> {
        self.ebpf.program(programs::NIC)?.try_into().ok()
    }
}

/// Opens the object over the pinned maps and creates those that are absent. `flows` is the capacity of each
/// flow table.
pub(super) fn object(pins: &Pins, flows: u32) -> Result<Ebpf, OpenError> {
    let mut loader = EbpfLoader::new();
    for name in tables::names() {
        loader.map_pin_path(name, pins.map(name));
    }
    for (name, entries) in tables::sized(flows) {
        loader.map_max_entries(name, entries);
    }
    loader.load(embedded::OBJECT).map_err(object_error)
}

fn object_error(error: EbpfError) -> OpenError {
    match permission(&error) {
        Some(errno) => OpenError::Permission {
            what: "call bpf(2)".to_owned(),
            source: io::Error::from_raw_os_error(errno),
        },
        None => OpenError::Object(Box::new(error)),
    }
}

/// Returns `EPERM` if it is among the causes.
fn permission(error: &EbpfError) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let errno = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        if errno == Some(libc::EPERM) {
            return errno;
        }
        cause = error.source();
    }
    None
}

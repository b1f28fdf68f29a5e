//! Detaches all programs and removes all pins. Works without a running agent and on a partly broken
//! directory.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use xdp_plan::hook::Hook;

use crate::datapath::{
    error::OpenError,
    flows::drain,
    hooks::{classifier, link},
    kernel::{lock::Lock, pins::Pins, sys},
    upgrade,
};

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uninstalled {
    /// NICs whose program was detached, by interface index.
    pub nics: Vec<u32>,
    /// Pods whose reader was removed, by host-side interface index.
    pub readers: Vec<u32>,
    /// Other pins: tracepoints and maps.
    pub pins: Vec<PathBuf>,
    /// What could not be removed, and why.
    pub failures: Vec<(PathBuf, String)>,
}

/// Uninstalls in two steps; the caller restores the pods in between. Fails while an agent holds the
/// directory.
pub struct Uninstall {
    pins: Pins,
    done: Uninstalled,
    _lock: Lock,
}

impl Uninstall {
    /// Locks the directory and detaches the NICs: when this returns, no program handles their packets.
    pub fn begin(pin_dir: &Path) -> Result<Self, OpenError> {
        if !pin_dir.exists() {
            return Err(OpenError::NotInstalled {
                path: pin_dir.to_owned(),
            });
        }
        let lock = Lock::take(pin_dir)?;
        let pins = Pins::new(pin_dir);
        upgrade::adopt(&pins)?;
        let mut done = Uninstalled::default();
        for ifindex in list(pins.links_of(Hook::Nic), &pins)? {
            if done.detach(&pins.link(Hook::Nic, ifindex)) {
                done.nics.push(ifindex);
            }
        }
        done.detach_classifier(&pins, Hook::NicPeer)?;
        sys::fence().map_err(OpenError::Fence)?;
        if let Err(error) = drain::drain(&pins) {
            tracing::warn!(%error, "cannot drain the flows");
        }
        for hook in Hook::REPLY_PATH.into_iter().rev() {
            done.detach_classifier(&pins, hook)?;
        }
        Ok(Self {
            pins,
            done,
            _lock: lock,
        })
    }

    /// Lists the pods whose reader is a clsact filter, by host-side interface index. See
    /// [`crate::datapath::detach_clsact`].
    pub fn clsact_readers(&self) -> Result<Vec<u32>, OpenError> {
        list(self.pins.filters(Hook::PodReader), &self.pins)
    }

    /// Lists the pods whose GRO was off before the agent switched it on, by host-side interface index.
    pub fn gro_switched(&self) -> Result<Vec<u32>, OpenError> {
        list(self.pins.gros(), &self.pins)
    }

    /// Removes the readers, the tracepoints, the maps and the directories. Keeps the records about the pods
    /// in `unrestored`, by host-side interface index, for the next attempt.
    pub fn finish(mut self, unrestored: &BTreeSet<u32>) -> Result<Uninstalled, OpenError> {
        let pins = unrestored.iter().flat_map(|ifindex| {
            [
                self.pins.filter(Hook::PodReader, *ifindex),
                self.pins.gro(*ifindex),
            ]
        });
        let kept: BTreeSet<PathBuf> = pins.collect();
        for ifindex in list(self.pins.links_of(Hook::PodReader), &self.pins)? {
            if self.done.detach(&self.pins.link(Hook::PodReader, ifindex)) {
                self.done.readers.push(ifindex);
            }
        }
        for ifindex in list(self.pins.filters(Hook::PodReader), &self.pins)? {
            if !unrestored.contains(&ifindex) && self.done.remove(&self.pins.filter(Hook::PodReader, ifindex))
            {
                self.done.readers.push(ifindex);
            }
        }
        self.done.remove_tree(&self.pins.abi(), &kept);
        self.done.remove_directory(self.pins.root(), &kept);
        Ok(self.done)
    }
}

fn list(found: io::Result<Vec<u32>>, pins: &Pins) -> Result<Vec<u32>, OpenError> {
    found.map_err(|error| OpenError::pin("list", &pins.abi(), error))
}

impl Uninstalled {
    /// Detaches a classifier from all interfaces of the calling thread's namespace.
    fn detach_classifier(&mut self, pins: &Pins, hook: Hook) -> Result<(), OpenError> {
        let found = classifier::pinned(pins, hook);
        for ifindex in found.map_err(|error| OpenError::pin("list", &pins.abi(), error))? {
            let detached = classifier::detach(pins, hook, ifindex).map(drop);
            self.record(&pins.link(hook, ifindex), detached);
        }
        Ok(())
    }

    /// Detaches a link, and removes its pin. A pin that is not a link is only removed. Returns whether the
    /// link was attached.
    fn detach(&mut self, pin: &Path) -> bool {
        link::detach(pin).unwrap_or_else(|_| {
            self.remove(pin);
            false
        })
    }

    fn remove(&mut self, pin: &Path) -> bool {
        self.record(pin, fs::remove_file(pin))
    }

    /// Removes a directory and everything below it, except what is in `kept`.
    fn remove_tree(&mut self, directory: &Path, kept: &BTreeSet<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if kept.contains(&path) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.remove_tree(&path, kept);
            } else if self.remove(&path) {
                self.pins.push(path);
            }
        }
        self.remove_directory(directory, kept);
    }

    /// Removes a directory, unless it contains something in `kept`. A directory with foreign files stays, and
    /// is reported.
    fn remove_directory(&mut self, directory: &Path, kept: &BTreeSet<PathBuf>) {
        if !kept.iter().any(|path| path.starts_with(directory)) {
            self.record(directory, fs::remove_dir(directory));
        }
    }

    fn record(&mut self, path: &Path, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.failures.push((path.to_owned(), error.to_string()));
                false
            }
        }
    }
}

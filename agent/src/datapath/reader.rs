//! The reader on a pod's interface: a tcx link, or a clsact filter where the kernel has no tcx (before Linux 6.6).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::Datapath;
use super::error::{AttachError, AttachStep, OpenError};
use super::links::{self, Attached, Place};
use super::sys::{self, LinkKind};

use crate::netns::Netns;

mod clsact;

/// How a reader is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// A tcx link.
    Tcx,
    /// A filter of a clsact qdisc.
    Clsact,
}

/// The pod's end of a pair.
#[derive(Clone, Copy, Debug)]
pub struct PodEnd<'a> {
    /// Its network namespace.
    pub netns: &'a Netns,
    /// Interface index there.
    pub ifindex: u32,
    /// Interface name there.
    pub name: &'a str,
}

impl Datapath {
    /// Attaches the reader to a pod's interface, or adopts what is attached. `host_ifindex` names the pair.
    pub fn attach_reader(
        &mut self,
        host_ifindex: u32,
        pod: PodEnd<'_>,
    ) -> Result<(ReaderKind, Attached), AttachError> {
        match self.attach_tcx(host_ifindex, pod) {
            Ok(attached) => Ok((ReaderKind::Tcx, attached)),
            // Kernels without tcx do not know the attach type.
            Err(error) if error.step == AttachStep::Create && error.errno() == libc::EINVAL => {
                Ok((ReaderKind::Clsact, self.attach_clsact(host_ifindex, pod)?))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the pins of readers whose pods are gone. Their interfaces took the attachments along.
    pub fn prune_readers(&mut self, live: &BTreeSet<u32>) -> Result<Vec<u32>, OpenError> {
        let pins = &self.pinned.pins;
        let list =
            |found: io::Result<Vec<u32>>| found.map_err(|error| OpenError::pin("list", &pins.abi(), error));
        let mut pruned = BTreeSet::new();
        let readers = list(pins.readers())?
            .into_iter()
            .map(|ifindex| (ifindex, pins.reader(ifindex)));
        let clsacts = list(pins.clsacts())?
            .into_iter()
            .map(|ifindex| (ifindex, pins.clsact(ifindex)));
        for (ifindex, pin) in readers
            .chain(clsacts)
            .filter(|(ifindex, _)| !live.contains(ifindex))
        {
            fs::remove_file(&pin).map_err(|error| OpenError::pin("remove", &pin, error))?;
            pruned.insert(ifindex);
        }
        for ifindex in list(pins.gros())?
            .into_iter()
            .filter(|ifindex| !live.contains(ifindex))
        {
            forget(&pins.gro(ifindex))?;
        }
        Ok(pruned.into_iter().collect())
    }

    /// Notes that GRO was off before the agent switched it on, so that `uninstall` can switch it off again.
    pub fn remember_gro(&mut self, host_ifindex: u32) -> Result<(), OpenError> {
        let path = self.pinned.pins.gro(host_ifindex);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(OpenError::pin("create", &path, error))
            }
            _ => Ok(()),
        }
    }

    fn attach_tcx(&self, host_ifindex: u32, pod: PodEnd<'_>) -> Result<Attached, AttachError> {
        let place = Place {
            pin: &self.pinned.pins.reader(host_ifindex),
            kind: LinkKind::Tcx { ifindex: pod.ifindex },
            ifindex: pod.ifindex,
        };
        let program = &self.programs.reader;
        links::attach(&place, program, || {
            let create = || sys::link_create_tcx_ingress(program.fd(), pod.ifindex);
            let created: io::Result<OwnedFd> = in_netns(pod, create)?;
            created.map_err(AttachError::at(AttachStep::Create, pod.ifindex))
        })
    }

    /// Attaches the reader as a clsact filter, as [`Datapath::attach_reader`] does on kernels without tcx. The filter
    /// lives in the pod's namespace and cannot be pinned; the pinned program says which one was attached.
    pub fn attach_clsact(&mut self, host_ifindex: u32, pod: PodEnd<'_>) -> Result<Attached, AttachError> {
        let pin = self.pinned.pins.clsact(host_ifindex);
        let at = |step| AttachError::at(step, pod.ifindex);
        let present = links::open(&pin).map_err(at(AttachStep::Inspect))?;
        if let Some(present) = &present {
            let info = sys::program_info(present).map_err(at(AttachStep::Inspect))?;
            if info.same_program(&self.programs.reader.info) {
                return Ok(Attached::Adopted);
            }
            fs::remove_file(&pin).map_err(at(AttachStep::Pin))?;
        }
        let Some(program) = self.programs.classifier() else {
            return Err(at(AttachStep::Create)(io::Error::other(
                "the embedded object has no reader",
            )));
        };
        in_netns(pod, || clsact::attach(program, pod.name))?.map_err(at(AttachStep::Create))?;
        sys::pin(self.programs.reader.fd(), &pin).map_err(at(AttachStep::Pin))?;
        Ok(if present.is_some() {
            Attached::Updated
        } else {
            Attached::Created
        })
    }
}

/// Removes a note of [`Datapath::remember_gro`].
pub(super) fn forget(path: &Path) -> Result<(), OpenError> {
    fs::remove_dir(path).map_err(|error| OpenError::pin("remove", path, error))
}

/// Takes a clsact reader off a pod's interface. Whether there was one.
pub fn detach_clsact(pod: PodEnd<'_>) -> Result<bool, AttachError> {
    in_netns(pod, || clsact::detach(pod.name))?.map_err(AttachError::at(AttachStep::Detach, pod.ifindex))
}

fn in_netns<T: Send>(pod: PodEnd<'_>, task: impl FnOnce() -> T + Send) -> Result<T, AttachError> {
    let refused = |error| AttachError::at(AttachStep::Enter, pod.ifindex)(io::Error::other(error));
    pod.netns.run(task).map_err(refused)
}

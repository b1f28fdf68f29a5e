//! A classifier at an interface's ingress: a tcx link, or a clsact filter where the kernel has no tcx (before Linux 6.6).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use xdp_core::tables::programs;

use super::Datapath;
use super::error::{AttachError, AttachStep};
use super::links::{self, Attached, Place};
use super::sys::{self, LinkKind};
use crate::netns::Netns;

pub(super) mod clsact;

/// How a classifier is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// A tcx link.
    Tcx,
    /// A filter of a clsact qdisc.
    Clsact,
}

/// Our classifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classifier {
    /// On a pod's interface.
    Reader,
    /// On a NIC.
    Peer,
}

impl Classifier {
    /// Its name in the object.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Reader => programs::READER,
            Self::Peer => programs::PEER,
        }
    }
}

/// Where a classifier is to be attached, and how that is remembered.
pub(super) struct Spot<'a> {
    pub(super) classifier: Classifier,
    /// Pin of the link.
    pub(super) tcx: PathBuf,
    /// Pin of the program behind a filter.
    pub(super) clsact: PathBuf,
    /// Absent: the calling thread's.
    pub(super) netns: Option<&'a Netns>,
    /// Index there.
    pub(super) ifindex: u32,
    /// Name there.
    pub(super) name: &'a str,
}

impl Datapath {
    /// Attaches a classifier, or adopts what is attached.
    pub(super) fn attach_ingress(&mut self, spot: &Spot<'_>) -> Result<(Ingress, Attached), AttachError> {
        match self.attach_tcx(spot) {
            Ok(attached) => Ok((Ingress::Tcx, attached)),
            // Kernels without tcx do not know the attach type.
            Err(error) if error.step == AttachStep::Create && error.errno() == libc::EINVAL => {
                Ok((Ingress::Clsact, self.attach_filter(spot)?))
            }
            Err(error) => Err(error),
        }
    }

    fn attach_tcx(&self, spot: &Spot<'_>) -> Result<Attached, AttachError> {
        let place = Place {
            pin: &spot.tcx,
            kind: LinkKind::Tcx {
                ifindex: spot.ifindex,
            },
            ifindex: spot.ifindex,
        };
        let program = self.programs.classifier(spot.classifier);
        links::attach(&place, program, || {
            let create = || sys::link_create_tcx_ingress(program.fd(), spot.ifindex);
            let created: io::Result<OwnedFd> = spot.run(create)?;
            created.map_err(AttachError::at(AttachStep::Create, spot.ifindex))
        })
    }

    /// The filter lives in the interface's namespace and cannot be pinned; the pinned program says which one was
    /// attached.
    pub(super) fn attach_filter(&mut self, spot: &Spot<'_>) -> Result<Attached, AttachError> {
        let pin = &spot.clsact;
        let at = |step| AttachError::at(step, spot.ifindex);
        let present = links::open(pin).map_err(at(AttachStep::Inspect))?;
        if let Some(present) = &present {
            let info = sys::program_info(present).map_err(at(AttachStep::Inspect))?;
            if info.same_program(&self.programs.classifier(spot.classifier).info) {
                return Ok(Attached::Adopted);
            }
            fs::remove_file(pin).map_err(at(AttachStep::Pin))?;
        }
        let Some(program) = self.programs.aya_classifier(spot.classifier) else {
            let missing = io::Error::other("the embedded object lacks the program");
            return Err(at(AttachStep::Create)(missing));
        };
        spot.run(|| clsact::attach(program, spot.name))?
            .map_err(at(AttachStep::Create))?;
        let program = self.programs.classifier(spot.classifier);
        sys::pin(program.fd(), pin).map_err(at(AttachStep::Pin))?;
        Ok(if present.is_some() {
            Attached::Updated
        } else {
            Attached::Created
        })
    }
}

impl Spot<'_> {
    fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, AttachError> {
        let Some(netns) = self.netns else {
            return Ok(task());
        };
        let refused = |error| AttachError::at(AttachStep::Enter, self.ifindex)(io::Error::other(error));
        netns.run(task).map_err(refused)
    }
}

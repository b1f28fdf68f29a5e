//! A classifier where an interface's packets enter the stack, or leave it: a tcx link, or a clsact filter
//! where the kernel has no tcx (before Linux 6.6).

use std::{collections::BTreeSet, fs, io, os::fd::OwnedFd, path::PathBuf};

use nix::net::if_::if_indextoname;
use xdp_plan::{hook::Hook, installed::Means};

use crate::{
    datapath::{
        Datapath,
        error::{AttachError, AttachStep},
        hooks::link::{
            Attached, Place, {self},
        },
        kernel::{
            pins::Pins,
            sys::{
                Direction, LinkKind, {self},
            },
        },
        programs::loaded::LoadedProgram,
    },
    node::netns::Netns,
};

pub(in crate::datapath) mod clsact;
pub(in crate::datapath) mod order;

/// Returns which packets of an interface the program at a hook sees, by the stack's view.
pub(in crate::datapath) const fn direction(hook: Hook) -> Direction {
    match hook {
        Hook::PodReader | Hook::NicPeer | Hook::PodOut | Hook::Nic => Direction::Ingress,
        Hook::PodIn | Hook::NicOut => Direction::Egress,
    }
}

/// Where a classifier is to be attached, and how that is remembered.
pub(in crate::datapath) struct Spot<'a> {
    pub(in crate::datapath) hook: Hook,
    /// Pin of the link.
    pub(in crate::datapath) tcx: PathBuf,
    /// Pin of the program behind a filter.
    pub(in crate::datapath) clsact: PathBuf,
    /// Absent: the calling thread's.
    pub(in crate::datapath) netns: Option<&'a Netns>,
    /// Index there.
    pub(in crate::datapath) ifindex: u32,
    /// Name there.
    pub(in crate::datapath) name: &'a str,
}

impl Datapath {
    /// Attaches a classifier, or adopts what is attached.
    pub(in crate::datapath) fn attach_classifier(
        &mut self,
        spot: &Spot<'_>,
    ) -> Result<(Means, Attached), AttachError> {
        match self.attach_tcx(spot) {
            Ok(attached) => Ok((Means::Tcx, attached)),
            // Kernels without tcx do not know the attach type.
            Err(error) if error.step == AttachStep::Create && error.errno() == libc::EINVAL => {
                Ok((Means::Clsact, self.attach_filter(spot)?))
            }
            Err(error) => Err(error),
        }
    }

    fn attach_tcx(&self, spot: &Spot<'_>) -> Result<Attached, AttachError> {
        let direction = direction(spot.hook);
        let place = Place {
            pin: &spot.tcx,
            kind: LinkKind::Tcx {
                ifindex: spot.ifindex,
                attach_type: direction.tcx(),
            },
            ifindex: spot.ifindex,
        };
        let program = self.loaded(spot)?;
        link::attach(&place, program, || {
            let create = || sys::link_create_tcx(program.fd(), spot.ifindex, direction);
            let created: io::Result<OwnedFd> = spot.run(create)?;
            created.map_err(AttachError::at(AttachStep::Create, spot.ifindex))
        })
    }

    fn loaded(&self, spot: &Spot<'_>) -> Result<&LoadedProgram, AttachError> {
        let loaded = self.programs.loaded(spot.hook);
        loaded.map_err(AttachError::at(AttachStep::Load, spot.ifindex))
    }

    /// The filter lives in the interface's namespace and cannot be pinned; the pinned program says which one
    /// was attached.
    pub(in crate::datapath) fn attach_filter(&mut self, spot: &Spot<'_>) -> Result<Attached, AttachError> {
        let pin = &spot.clsact;
        let at = |step| AttachError::at(step, spot.ifindex);
        let present = link::open(pin).map_err(at(AttachStep::Inspect))?;
        if let Some(present) = &present {
            let info = sys::program_info(present).map_err(at(AttachStep::Inspect))?;
            let is_there = || clsact::is_attached(spot.ifindex, spot.hook);
            if self.loaded(spot)?.is(&info) && spot.run(is_there)?.map_err(at(AttachStep::Inspect))? {
                return Ok(Attached::Adopted);
            }
            fs::remove_file(pin).map_err(at(AttachStep::Pin))?;
        }
        let Some(program) = self.programs.aya_classifier(spot.hook) else {
            let missing = io::Error::other("the embedded object lacks the program");
            return Err(at(AttachStep::Create)(missing));
        };
        let attach = || {
            clsact::attach(program, spot.name, spot.hook)?;
            clsact::is_attached(spot.ifindex, spot.hook)
        };
        if !spot.run(attach)?.map_err(at(AttachStep::Create))? {
            return Err(at(AttachStep::Verify)(io::Error::other(
                "the kernel shows no filter of ours",
            )));
        }
        sys::pin(self.loaded(spot)?.fd(), pin).map_err(at(AttachStep::Pin))?;
        Ok(if present.is_some() {
            Attached::Updated
        } else {
            Attached::Created
        })
    }
}

/// Interfaces with a pin of the classifier, whether they are still there or not.
pub(in crate::datapath) fn pinned(pins: &Pins, hook: Hook) -> io::Result<BTreeSet<u32>> {
    let filters = pins.filters(hook)?;
    Ok(pins.links_of(hook)?.into_iter().chain(filters).collect())
}

/// Interfaces of the calling thread's namespace that have the classifier.
pub(in crate::datapath) fn attached(pins: &Pins, hook: Hook) -> io::Result<BTreeSet<u32>> {
    let is_there = |ifindex: &u32| {
        let link = link::open(&pins.link(hook, *ifindex)).ok().flatten();
        let info = link.and_then(|link| sys::link_info(link).ok());
        let kind = LinkKind::Tcx {
            ifindex: *ifindex,
            attach_type: direction(hook).tcx(),
        };
        info.is_some_and(|info| info.kind == kind)
            || (pins.filter(hook, *ifindex).exists() && clsact::is_attached(*ifindex, hook).unwrap_or(false))
    };
    Ok(pinned(pins, hook)?.into_iter().filter(is_there).collect())
}

/// Detaches a classifier from an interface of the calling thread's namespace. Returns whether it was there.
pub(in crate::datapath) fn detach(pins: &Pins, hook: Hook, ifindex: u32) -> io::Result<bool> {
    let link = link::detach(&pins.link(hook, ifindex))?;
    let pin = pins.filter(hook, ifindex);
    if !pin.exists() {
        return Ok(link);
    }
    // An interface that is gone took its filters along.
    if let Ok(name) = if_indextoname(ifindex) {
        clsact::detach(&name.to_string_lossy(), hook)?;
    }
    fs::remove_file(&pin)?;
    Ok(true)
}

impl Spot<'_> {
    /// On an interface of the calling thread's namespace.
    pub(in crate::datapath) fn here<'a>(pins: &Pins, hook: Hook, ifindex: u32, name: &'a str) -> Spot<'a> {
        Spot {
            hook,
            tcx: pins.link(hook, ifindex),
            clsact: pins.filter(hook, ifindex),
            netns: None,
            ifindex,
            name,
        }
    }

    fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, AttachError> {
        let Some(netns) = self.netns else {
            return Ok(task());
        };
        let refused = |error| AttachError::at(AttachStep::Enter, self.ifindex)(io::Error::other(error));
        netns.run(task).map_err(refused)
    }
}

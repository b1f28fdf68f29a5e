//! The reader on a pod's interface.

use std::{collections::BTreeSet, fs, io, path::Path};

use xdp_plan::{hook::Hook, installed::Means};

use crate::{
    datapath::{
        Datapath,
        error::{AttachError, AttachStep, OpenError},
        hooks::{
            classifier::{Spot, clsact},
            link::Attached,
        },
    },
    node::netns::Netns,
};

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
    ) -> Result<(Means, Attached), AttachError> {
        let spot = self.reader_spot(host_ifindex, pod);
        self.attach_classifier(&spot)
    }

    /// Attaches the reader as a clsact filter, as on kernels without tcx.
    pub fn attach_clsact(&mut self, host_ifindex: u32, pod: PodEnd<'_>) -> Result<Attached, AttachError> {
        let spot = self.reader_spot(host_ifindex, pod);
        self.attach_filter(&spot)
    }

    fn reader_spot<'a>(&self, host_ifindex: u32, pod: PodEnd<'a>) -> Spot<'a> {
        let pins = &self.pinned.pins;
        Spot {
            hook: Hook::PodReader,
            tcx: pins.link(Hook::PodReader, host_ifindex),
            clsact: pins.filter(Hook::PodReader, host_ifindex),
            netns: Some(pod.netns),
            ifindex: pod.ifindex,
            name: pod.name,
        }
    }

    /// Removes the pins of readers whose pods are gone. Their interfaces took the attachments along.
    pub fn prune_readers(&mut self, live: &BTreeSet<u32>) -> Result<Vec<u32>, OpenError> {
        let pins = &self.pinned.pins;
        let list =
            |found: io::Result<Vec<u32>>| found.map_err(|error| OpenError::pin("list", &pins.abi(), error));
        let mut pruned = BTreeSet::new();
        let readers = list(pins.links_of(Hook::PodReader))?
            .into_iter()
            .map(|ifindex| (ifindex, pins.link(Hook::PodReader, ifindex)));
        let clsacts = list(pins.filters(Hook::PodReader))?
            .into_iter()
            .map(|ifindex| (ifindex, pins.filter(Hook::PodReader, ifindex)));
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
}

/// Removes a note of [`Datapath::remember_gro`].
pub(in crate::datapath) fn forget(path: &Path) -> Result<(), OpenError> {
    fs::remove_dir(path).map_err(|error| OpenError::pin("remove", path, error))
}

/// Takes a clsact reader off a pod's interface. Whether there was one.
pub fn detach_clsact(pod: PodEnd<'_>) -> Result<bool, AttachError> {
    let refused = |error| AttachError::at(AttachStep::Enter, pod.ifindex)(io::Error::other(error));
    let detach = || clsact::detach(pod.name, Hook::PodReader);
    let done = pod.netns.run(detach).map_err(refused)?;
    done.map_err(AttachError::at(AttachStep::Detach, pod.ifindex))
}

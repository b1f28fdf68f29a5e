//! The reader on a pod's interface.

use std::{fs, io};

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

    pub(super) fn reader_spot<'a>(&self, host_ifindex: u32, pod: PodEnd<'a>) -> Spot<'a> {
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

    /// Notes that GRO was off before the agent switched it on, so that `uninstall` can switch it off again.
    pub fn note_gro(&mut self, host_ifindex: u32) -> Result<(), OpenError> {
        let path = self.pinned.pins.gro(host_ifindex);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(OpenError::pin("create", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Detaches a clsact reader from a pod's interface. Returns whether there was one.
pub fn detach_clsact(pod: PodEnd<'_>) -> Result<bool, AttachError> {
    let refused = |error| AttachError::at(AttachStep::Enter, pod.ifindex)(io::Error::other(error));
    let detach = || clsact::detach(pod.name, Hook::PodReader);
    let done = pod.netns.run(detach).map_err(refused)?;
    done.map_err(AttachError::at(AttachStep::Detach, pod.ifindex))
}

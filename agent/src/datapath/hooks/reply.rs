//! The programs of the reply path: on the host's ends of pods' pairs, and on NICs.

use std::collections::BTreeSet;

use crate::datapath::{
    Datapath, Pinned,
    error::{AttachError, AttachStep, OpenError},
    hooks::{
        classifier::{
            Attachment, Classifier, Spot, {self},
        },
        link::Attached,
    },
};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// On the host's end of a pod's pair, what the stack delivers to the pod: notes that the stack has a flow.
    PodIn,
    /// There, what the pod sends: replies of flows that were taken leave here.
    PodOut,
    /// On a NIC, what leaves the node: notes flows that pods began.
    NicOut,
}

impl Hook {
    /// On the host's end of a pod's pair, in the order in which they are attached.
    pub const POD: [Self; 2] = [Self::PodIn, Self::PodOut];
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NicOut, Self::PodIn, Self::PodOut];

    /// Name of the program.
    pub const fn program(self) -> &'static str {
        self.classifier().program()
    }

    const fn classifier(self) -> Classifier {
        match self {
            Self::PodIn => Classifier::PodIn,
            Self::PodOut => Classifier::PodOut,
            Self::NicOut => Classifier::NicOut,
        }
    }
}

impl Datapath {
    /// Attaches it to an interface of the calling thread's namespace, or adopts what is attached.
    pub fn attach_hook(
        &mut self,
        hook: Hook,
        ifindex: u32,
        name: &str,
    ) -> Result<(Attachment, Attached), AttachError> {
        let spot = Spot::here(&self.pinned.pins, hook.classifier(), ifindex, name);
        self.attach_classifier(&spot)
    }

    /// The same as a clsact filter, as on kernels without tcx.
    pub fn attach_hook_clsact(
        &mut self,
        hook: Hook,
        ifindex: u32,
        name: &str,
    ) -> Result<Attached, AttachError> {
        let spot = Spot::here(&self.pinned.pins, hook.classifier(), ifindex, name);
        self.attach_filter(&spot)
    }

    /// Takes it off an interface. Whether it was there.
    pub fn detach_hook(&mut self, hook: Hook, ifindex: u32) -> Result<bool, AttachError> {
        classifier::detach(&self.pinned.pins, hook.classifier(), ifindex)
            .map_err(AttachError::at(AttachStep::Detach, ifindex))
    }
}

impl Pinned {
    /// Interfaces with a pin of it, whether they are still there or not.
    pub fn hook_pins(&self, hook: Hook) -> Result<BTreeSet<u32>, OpenError> {
        classifier::pinned(&self.pins, hook.classifier())
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }

    /// Interfaces of the calling thread's namespace that have it.
    pub fn hooks(&self, hook: Hook) -> Result<BTreeSet<u32>, OpenError> {
        classifier::attached(&self.pins, hook.classifier())
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }
}

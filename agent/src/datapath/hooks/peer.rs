//! The program behind a NIC's stack entry, which hands packets for delivery `Peer` to their pods.

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

impl Datapath {
    /// Attaches it to a NIC of the calling thread's namespace, or adopts what is attached.
    pub fn attach_peer(&mut self, nic: u32, name: &str) -> Result<(Attachment, Attached), AttachError> {
        let spot = Spot::here(&self.pinned.pins, Classifier::Peer, nic, name);
        self.attach_classifier(&spot)
    }

    /// The same as a clsact filter, as on kernels without tcx.
    pub fn attach_peer_clsact(&mut self, nic: u32, name: &str) -> Result<Attached, AttachError> {
        let spot = Spot::here(&self.pinned.pins, Classifier::Peer, nic, name);
        self.attach_filter(&spot)
    }

    /// Takes it off a NIC. Whether it was there.
    pub fn detach_peer(&mut self, nic: u32) -> Result<bool, AttachError> {
        classifier::detach(&self.pinned.pins, Classifier::Peer, nic)
            .map_err(AttachError::at(AttachStep::Detach, nic))
    }
}

impl Pinned {
    /// NICs with a pin of the program, whether they are still there or not.
    pub fn peer_pins(&self) -> Result<BTreeSet<u32>, OpenError> {
        classifier::pinned(&self.pins, Classifier::Peer)
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }

    /// NICs that have the program, by interface index in the host's namespace.
    pub fn peers(&self) -> Result<BTreeSet<u32>, OpenError> {
        classifier::attached(&self.pins, Classifier::Peer)
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }
}

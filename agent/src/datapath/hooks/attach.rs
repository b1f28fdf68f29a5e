//! Attaches and detaches the programs on interfaces of the host's network namespace.

use std::collections::BTreeSet;

use xdp_plan::{hook::Hook, installed::Means};

use crate::datapath::{
    Datapath, Pinned,
    error::{AttachError, AttachStep, OpenError},
    hooks::{
        classifier::{
            Spot, {self},
        },
        link::Attached,
    },
};

impl Datapath {
    /// Attaches a classifier to an interface of the calling thread's namespace, or adopts what is attached.
    pub fn attach_hook(
        &mut self,
        hook: Hook,
        ifindex: u32,
        name: &str,
    ) -> Result<(Means, Attached), AttachError> {
        let spot = Spot::here(&self.pinned.pins, hook, ifindex, name);
        self.attach_classifier(&spot)
    }

    /// Attaches a classifier as a clsact filter, as on kernels without tcx.
    pub fn attach_hook_clsact(
        &mut self,
        hook: Hook,
        ifindex: u32,
        name: &str,
    ) -> Result<Attached, AttachError> {
        let spot = Spot::here(&self.pinned.pins, hook, ifindex, name);
        self.attach_filter(&spot)
    }

    /// Detaches the program from a hook of the calling thread's namespace, and removes its pin. Returns
    /// whether there was one.
    pub fn detach_hook(&self, hook: Hook, ifindex: u32) -> Result<bool, AttachError> {
        classifier::detach(&self.pinned.pins, hook, ifindex)
            .map_err(AttachError::at(AttachStep::Detach, ifindex))
    }
}

impl Pinned {
    /// Lists the interfaces with a pin of the hook, whether they still exist or not.
    pub fn hook_pins(&self, hook: Hook) -> Result<BTreeSet<u32>, OpenError> {
        classifier::pinned(&self.pins, hook)
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }

    /// Lists the interfaces of the calling thread's namespace with a classifier at the hook.
    pub fn hooks(&self, hook: Hook) -> Result<BTreeSet<u32>, OpenError> {
        classifier::attached(&self.pins, hook)
            .map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }
}

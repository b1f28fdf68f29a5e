//! The program behind a NIC's stack entry, which hands packets for delivery `Peer` to their pods.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use nix::net::if_::if_indextoname;

use super::error::{AttachError, AttachStep, OpenError};
use super::ingress::{Classifier, Ingress, Spot, clsact};
use super::links::{self, Attached};
use super::pins::Pins;
use super::sys::{self, LinkKind};
use super::{Datapath, Pinned};

impl Datapath {
    /// Attaches it to a NIC of the calling thread's namespace, or adopts what is attached.
    pub fn attach_peer(&mut self, nic: u32, name: &str) -> Result<(Ingress, Attached), AttachError> {
        let spot = self.peer_spot(nic, name);
        self.attach_ingress(&spot)
    }

    /// The same as a clsact filter, as on kernels without tcx.
    pub fn attach_peer_clsact(&mut self, nic: u32, name: &str) -> Result<Attached, AttachError> {
        let spot = self.peer_spot(nic, name);
        self.attach_filter(&spot)
    }

    /// Takes it off a NIC. Whether it was there.
    pub fn detach_peer(&mut self, nic: u32) -> Result<bool, AttachError> {
        detach(&self.pinned.pins, nic).map_err(AttachError::at(AttachStep::Detach, nic))
    }

    fn peer_spot<'a>(&self, nic: u32, name: &'a str) -> Spot<'a> {
        let pins = &self.pinned.pins;
        Spot {
            classifier: Classifier::Peer,
            tcx: pins.peer(nic),
            clsact: pins.peer_clsact(nic),
            netns: None,
            ifindex: nic,
            name,
        }
    }
}

impl Pinned {
    /// NICs with a pin of the program, whether they are still there or not.
    pub fn peer_pins(&self) -> Result<BTreeSet<u32>, OpenError> {
        pinned(&self.pins).map_err(|error| OpenError::pin("list", &self.pins.links(), error))
    }

    /// NICs that have the program, by interface index in the host's namespace.
    pub fn peers(&self) -> Result<BTreeSet<u32>, OpenError> {
        let pins = &self.pins;
        let is_alive = |nic: &u32| {
            let link = links::open(&pins.peer(*nic)).ok().flatten();
            let info = link.and_then(|link| sys::link_info(link).ok());
            // A filter cannot be pinned; it goes with its interface.
            pins.peer_clsact(*nic).exists()
                || info.is_some_and(|info| info.kind == LinkKind::Tcx { ifindex: *nic })
        };
        Ok(self.peer_pins()?.into_iter().filter(is_alive).collect())
    }
}

/// NICs with a pin of it, whether they are still there or not.
pub(super) fn pinned(pins: &Pins) -> io::Result<BTreeSet<u32>> {
    Ok(pins.peers()?.into_iter().chain(pins.peer_clsacts()?).collect())
}

/// Takes it off a NIC of the calling thread's namespace. Whether it was there.
pub(super) fn detach(pins: &Pins, nic: u32) -> io::Result<bool> {
    let link = links::detach(&pins.peer(nic))?;
    let pin = pins.peer_clsact(nic);
    if !pin.exists() {
        return Ok(link);
    }
    // A NIC that is gone took its filters along.
    if let Ok(name) = if_indextoname(nic) {
        clsact::detach(&name.to_string_lossy(), Classifier::Peer.program())?;
    }
    fs::remove_file(&pin)?;
    Ok(true)
}

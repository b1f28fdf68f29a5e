//! The program for delivery `Peer`: on NICs that carry ours, while a policy in force uses it.

use tracing::{info, warn};
use xdp_client::error_chain;
use xdp_plan::{hook::Hook, report::Problem};

use crate::{
    datapath::{Attached, Datapath},
    node::nic::peer_refused,
    reconcile::nics::beside::{attach_beside_ours, superfluous},
};

/// Attaches it where it is missing, before rules refer to it, and says where that cannot be.
pub(in crate::reconcile) fn attach_peers(datapath: &mut Datapath) -> Vec<Problem> {
    attach_beside_ours(datapath, attach_one)
}

/// Takes it off NICs that do not carry our program, and when no rule refers to it any more off all.
pub(in crate::reconcile) fn release_peers(datapath: &mut Datapath, wanted: bool) {
    let attached = datapath.pinned().hook_pins(Hook::NicPeer).unwrap_or_default();
    for nic in superfluous(datapath, attached, wanted) {
        match datapath.detach_hook(Hook::NicPeer, nic) {
            Ok(_) => info!(nic, "program for delivery Peer taken off"),
            Err(error) => {
                warn!(nic, error = %error_chain(&error), "program for delivery Peer stays, and does nothing");
            }
        }
    }
}

pub(super) fn attach_one(datapath: &mut Datapath, ifindex: u32, name: &str) -> Option<Problem> {
    match datapath.attach_hook(Hook::NicPeer, ifindex, name) {
        Ok((_, Attached::Adopted)) => None,
        Ok((kind, _)) => {
            info!(nic = %name, ?kind, "program for delivery Peer attached");
            None
        }
        Err(error) => Some(peer_refused(name, &error_chain(&error))),
    }
}

//! The program of the reply path on NICs: wherever ours is, while anything redirects.

use tracing::{info, warn};
use xdp_client::error_chain;
use xdp_plan::{hook::Hook, report::Problem};

use crate::{
    datapath::{Attached, Datapath},
    node::nic::no_reply_path,
    reconcile::nics::beside::{attach_beside_ours, superfluous},
};

/// Whether NICs are to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reconcile) enum ReplyPath {
    /// Nothing redirects.
    NotNeeded,
    /// A NIC gets ours only after it.
    Needed,
    /// A NIC refuses it, and so no pod relies on it.
    Refused,
}

/// Attaches it to the NICs that carry ours, before any pod relies on it, and says where that cannot be.
pub(in crate::reconcile) fn attach_ways(datapath: &mut Datapath) -> Vec<Problem> {
    attach_beside_ours(datapath, attach_one)
}

/// Takes it off NICs that do not carry our program, and when nothing redirects any more off all.
pub(in crate::reconcile) fn release_ways(datapath: &mut Datapath, wanted: bool) {
    let attached = datapath.pinned().hook_pins(Hook::NicOut).unwrap_or_default();
    for nic in superfluous(datapath, attached, wanted) {
        match datapath.detach_hook(Hook::NicOut, nic) {
            Ok(_) => info!(nic, "program of the reply path taken off"),
            Err(error) => {
                warn!(nic, error = %error_chain(&error), "program of the reply path stays, and does nothing");
            }
        }
    }
}

pub(super) fn attach_one(datapath: &mut Datapath, ifindex: u32, name: &str) -> Option<Problem> {
    match datapath.attach_hook(Hook::NicOut, ifindex, name) {
        Ok((_, Attached::Adopted)) => None,
        Ok((kind, _)) => {
            info!(nic = %name, ?kind, "program of the reply path attached");
            None
        }
        Err(error) => Some(no_reply_path(name, Hook::NicOut.program(), &error_chain(&error))),
    }
}

//! NICs that carry another program of ours beside the one that decides.

use std::collections::BTreeSet;

use nix::net::if_::if_indextoname;
use xdp_plan::report::Problem;

use crate::{datapath::Datapath, reconcile::nics::ours};

/// Attaches another program to the NICs that carry ours.
pub(super) fn attach_beside_ours(
    datapath: &mut Datapath,
    attach_one: impl Fn(&mut Datapath, u32, &str) -> Option<Problem>,
) -> Vec<Problem> {
    let nics = match ours(datapath) {
        Ok(nics) => nics,
        Err(problem) => return vec![problem],
    };
    // A NIC that is gone needs nothing.
    let named = |nic| if_indextoname(nic).ok().map(|name| (nic, name));
    let nics = nics.into_keys().filter_map(named);
    nics.filter_map(|(nic, name)| attach_one(datapath, nic, &name.to_string_lossy()))
        .collect()
}

/// Those of the NICs with another program that need it no more: they do not carry ours, or nobody wants it. None if it
/// is not known which carry ours.
pub(super) fn superfluous(datapath: &Datapath, attached: BTreeSet<u32>, wanted: bool) -> BTreeSet<u32> {
    let Ok(carrying) = ours(datapath) else {
        return BTreeSet::new();
    };
    let mut attached = attached;
    attached.retain(|nic| !wanted || !carrying.contains_key(nic));
    attached
}

//! The pods' interfaces: made ready to take redirected packets.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};
use xdp_plan::{
    facts::{NotReady, Readiness},
    targets::Target,
};

use super::problems::chain;
use crate::{
    datapath::{Attached, Datapath, PodEnd},
    netns::Namespaces,
    readiness,
};

/// Readiness by the host's ifindex, for the targets of which any rule redirects.
pub(super) fn prepare(
    datapath: &mut Datapath,
    namespaces: &mut Namespaces,
    targets: &[Target],
) -> BTreeMap<u32, Readiness> {
    targets
        .iter()
        .filter(|target| target.wants_redirect)
        .map(|target| {
            (
                target.pair.host.ifindex,
                prepare_one(datapath, namespaces, target),
            )
        })
        .collect()
}

/// Forgets what belonged to interfaces that are gone.
pub(super) fn prune(datapath: &mut Datapath, live: &BTreeSet<u32>) {
    if let Err(error) = datapath.prune_readers(live) {
        warn!(error = %chain(error), "pins of readers that are gone could not be removed");
    }
    if let Err(error) = datapath.prune_failures(live) {
        warn!(error = %chain(error), "failures of pods that are gone could not be forgotten");
    }
}

fn prepare_one(datapath: &mut Datapath, namespaces: &mut Namespaces, target: &Target) -> Readiness {
    let (pair, pod) = (&target.pair, &target.pod);
    let prepared = readiness::prepare(pair, namespaces);
    if prepared.gro_was_off {
        info!(%pod, interface = %pair.pod.name, "GRO switched on");
        if let Err(error) = datapath.remember_gro(pair.host.ifindex) {
            warn!(%pod, error = %chain(error), "uninstalling will not switch GRO off again");
        }
    }
    let Some(netns) = prepared.netns.filter(|_| prepared.readiness == Readiness::Ready) else {
        return prepared.readiness;
    };
    let end = PodEnd {
        netns: &netns,
        ifindex: pair.pod.ifindex,
        name: &pair.pod.name,
    };
    match datapath.attach_reader(pair.host.ifindex, end) {
        Ok((_, Attached::Adopted)) => Readiness::Ready,
        Ok((kind, _)) => {
            info!(%pod, ?kind, "reader attached");
            Readiness::Ready
        }
        Err(error) => Readiness::NotReady {
            reason: NotReady::ReaderRefused,
            message: format!("{}; marks would be lost; see the kernel log", chain(error)),
        },
    }
}

//! The pods' interfaces: made ready to take redirected packets.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};
use xdp_client::error_chain;
use xdp_plan::{
    facts::{Deliveries, NotReady, Readiness},
    hook::Hook,
    report::Problem,
    targets::Target,
};

use crate::{
    datapath::{Attached, Datapath, PodEnd},
    node::{
        netns::{Namespaces, Netns},
        nic,
        readiness::{
            Prepared, {self},
        },
    },
};

/// What was asked of an interface, and what came of it.
#[derive(Debug)]
pub(super) struct Asked {
    redirect: bool,
    peer: bool,
    deliveries: Deliveries,
}

/// What is in the way on the NICs. Who has any looks at everything again the next time.
#[derive(Clone, Copy)]
pub(super) struct Obstacles<'a> {
    /// Of delivery `Peer`.
    pub(super) peers: &'a [Problem],
    /// Of replies.
    pub(super) ways: &'a [Problem],
}

/// What is ready by the host's ifindex, for the targets of which any rule redirects. `ready` are those that need not be
/// asked again.
pub(super) fn prepare<'a>(
    (datapath, namespaces): (&mut Datapath, &mut Namespaces),
    targets: impl Iterator<Item = &'a Target>,
    obstacles: Obstacles<'_>,
    ready: &mut BTreeMap<u32, Asked>,
) -> BTreeMap<u32, Deliveries> {
    let mut before = std::mem::take(ready);
    for target in targets.filter(|target| target.wants_redirect || target.wants_peer) {
        let ifindex = target.pair.host.ifindex;
        let (redirect, peer) = (target.wants_redirect, target.wants_peer);
        let known = before.remove(&ifindex);
        let known = known.filter(|asked| (asked.redirect, asked.peer) == (redirect, peer));
        let asked = known.unwrap_or_else(|| Asked {
            redirect,
            peer,
            deliveries: prepare_one(datapath, namespaces, target, obstacles),
        });
        ready.insert(ifindex, asked);
    }
    let deliveries = ready.iter();
    deliveries
        .map(|(ifindex, asked)| (*ifindex, asked.deliveries.clone()))
        .collect()
}

/// Forgets what belonged to interfaces that are gone.
pub(super) fn prune(datapath: &mut Datapath, live: &BTreeSet<u32>) {
    if let Err(error) = datapath.prune_readers(live) {
        warn!(error = %error_chain(&error), "pins of readers that are gone could not be removed");
    }
    if let Err(error) = datapath.prune_failures(live) {
        warn!(error = %error_chain(&error), "failures of pods that are gone could not be forgotten");
    }
}

fn prepare_one(
    datapath: &mut Datapath,
    namespaces: &mut Namespaces,
    target: &Target,
    Obstacles { peers, ways }: Obstacles<'_>,
) -> Deliveries {
    let mut redirect = if target.wants_redirect {
        readiness::prepare(&target.pair, namespaces)
    } else {
        not_asked()
    };
    if redirect.gro_was_off {
        remember_gro(datapath, target);
    }
    let mut peer = match peers.first() {
        _ if !target.wants_peer => not_asked(),
        Some(problem) => refused(problem),
        None => readiness::prepare_peer(&target.pair, namespaces),
    };
    let ready = [&mut redirect, &mut peer].into_iter();
    let mut ready: Vec<&mut Prepared> = ready
        .filter(|prepared| prepared.readiness == Readiness::Ready)
        .collect();
    let netns = ready.iter_mut().find_map(|prepared| prepared.netns.take());
    if let Some(Err(obstacle)) = netns.map(|netns| attach_reader(datapath, target, &netns)) {
        for prepared in ready {
            prepared.readiness = obstacle.clone();
        }
    }
    let (redirect, peer) = (redirect.readiness, peer.readiness);
    let reply_path = match ways.first() {
        Some(problem) => no_reply_path(&format!("{}: {}", problem.object, problem.message)),
        None if redirect != Readiness::Ready && peer != Readiness::Ready => not_asked().readiness,
        None => attach_hooks(datapath, target).err().unwrap_or(Readiness::Ready),
    };
    Deliveries {
        redirect,
        peer,
        reply_path,
    }
}

/// Both, in the order in which no reply goes astray between them.
fn attach_hooks(datapath: &mut Datapath, Target { pod, pair, .. }: &Target) -> Result<(), Readiness> {
    for hook in Hook::POD {
        match datapath.attach_hook(hook, pair.host.ifindex, &pair.host.name) {
            Ok((_, Attached::Adopted)) => {}
            Ok((kind, _)) => info!(%pod, ?hook, ?kind, "program of the reply path attached"),
            Err(error) => {
                let (program, name) = (hook.program(), &pair.host.name);
                let problem = nic::no_reply_path(name, program, &error_chain(&error));
                return Err(no_reply_path(&problem.message));
            }
        }
    }
    Ok(())
}

fn no_reply_path(message: &str) -> Readiness {
    Readiness::NotReady {
        reason: NotReady::NoReplyPath,
        message: format!("{message}; {}", nic::REPLY_PATH_NEEDS),
    }
}

/// Takes the programs of the reply path off the host's ends of pairs that need them no more, or are gone.
pub(super) fn release_hooks(datapath: &mut Datapath, needed: &BTreeSet<u32>) {
    for hook in Hook::POD {
        let pins = datapath.pinned().hook_pins(hook).unwrap_or_default();
        for ifindex in pins.difference(needed) {
            if let Err(error) = datapath.detach_hook(hook, *ifindex) {
                warn!(ifindex, ?hook, error = %error_chain(&error), "a program of the reply path stays, and does nothing");
            }
        }
    }
}

fn not_asked() -> Prepared {
    not_ready(
        NotReady::NotPrepared,
        "none of the pod's rules redirects this way".to_owned(),
    )
}

fn refused(problem: &Problem) -> Prepared {
    not_ready(
        NotReady::PeerRefused,
        format!("{}: {}", problem.object, problem.message),
    )
}

fn not_ready(reason: NotReady, message: String) -> Prepared {
    Prepared {
        readiness: Readiness::NotReady { reason, message },
        gro_was_off: false,
        netns: None,
    }
}

fn remember_gro(datapath: &mut Datapath, Target { pod, pair, .. }: &Target) {
    info!(%pod, interface = %pair.pod.name, "GRO switched on");
    if let Err(error) = datapath.remember_gro(pair.host.ifindex) {
        warn!(%pod, error = %error_chain(&error), "uninstalling will not switch GRO off again");
    }
}

/// Without it, marks would be lost, whichever way packets come.
fn attach_reader(
    datapath: &mut Datapath,
    Target { pod, pair, .. }: &Target,
    netns: &Netns,
) -> Result<(), Readiness> {
    let end = PodEnd {
        netns,
        ifindex: pair.pod.ifindex,
        name: &pair.pod.name,
    };
    match datapath.attach_reader(pair.host.ifindex, end) {
        Ok((_, Attached::Adopted)) => Ok(()),
        Ok((kind, _)) => {
            info!(%pod, ?kind, "reader attached");
            Ok(())
        }
        Err(error) => Err(Readiness::NotReady {
            reason: NotReady::ReaderRefused,
            message: format!("{}; marks would be lost; see the kernel log", error_chain(&error)),
        }),
    }
}

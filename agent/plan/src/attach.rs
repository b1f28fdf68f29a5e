//! Decides which programs should be attached where, and what each pod is ready for.
//!
//! Pure: from policies' targets, the facts about interfaces, what is attached, and what the kernel refused in
//! this reconcile. A NIC or a pod that cannot have everything that it needs gets nothing for the part that it
//! cannot have.

mod foreign;
mod moves;
mod nics;
mod pods;
mod readiness;
mod refused;
mod ways_out;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    foreign::FOREIGN_PROGRAM_FIRST,
    moves::{MOST_MOVES, Moves},
    readiness::pod_problems,
    refused::{HookRefusal, Refused, RefusedStep, retries},
};
use self::{nics::Nics, pods::Pods};
use crate::{
    desired::DesiredAttachments,
    drain::Draining,
    facts::{Deliveries, Pair},
    hook::{AttachPoint, Hook, Interface},
    installed::Attachments,
    nics::{HostLink, NicFacts, NicSelector, Stations, stations, tunnel_not_decided},
    report::Problem,
    targets::{Target, Targets},
};

/// The input of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The targets of all policies.
    pub targets: &'a Targets,
    /// Pods that drain.
    pub draining: &'a [Draining],
    /// All pairs of the node.
    pub pairs: &'a [Pair],
    /// All interfaces that may be NICs; `None`: they could not be read, and are left as they are.
    pub nics: Option<&'a [NicFacts]>,
    /// The administrator's selection.
    pub selector: &'a NicSelector,
    /// Size of a page of memory: limits the MTU of some drivers.
    pub page_size: u32,
    /// The attached programs.
    pub installed: &'a Attachments,
    /// Changes that the kernel refused in this reconcile.
    pub refused: &'a Refused,
    /// Detach the program from NICs that are not selected (any more), or may not run it in generic mode (any
    /// more). Only at the start of the agent: a NIC that is renamed under a running agent keeps its program.
    pub release: bool,
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachmentDecision {
    /// The desired attachments.
    pub attachments: DesiredAttachments,
    /// Readiness of the targets once the programs are attached, by the index of the host's end.
    pub deliveries: BTreeMap<u32, Deliveries>,
    /// Names of the selected NICs; `None`: they could not be read.
    pub selected: Option<BTreeSet<String>>,
    /// Problems that a later try may solve.
    pub failures: Vec<Problem>,
    /// Problems that persist until a person changes something.
    pub notes: Vec<Problem>,
    /// Whether any pod relies on the reply path.
    pub needs_reply_path: bool,
    /// The frames that the stack takes from the NICs that have or get the program; `None`: unknown.
    pub stations: Option<Stations>,
}

/// Decides what should be attached.
pub fn decide(situation: &Situation<'_>) -> AttachmentDecision {
    let wants = |wants: fn(&Target) -> bool| situation.targets.targets.iter().any(wants);
    let needs_peer = wants(|target| target.wants_peer);
    let needs_reply_path =
        wants(|target| target.wants_redirect) || needs_peer || !situation.draining.is_empty();
    let needs_connections = wants(|target| target.wants_connections);

    let mut nics = Nics::new(situation);
    let reply_path = nics.reply_path(needs_reply_path || needs_connections);
    let peer = nics.peer(needs_peer);
    let mut pods = Pods::new(situation, reply_path, peer);
    pods.decide();

    let stations = situation.nics.map(|facts| {
        let mut stations = stations(&nics.programmed(), facts);
        if needs_connections {
            stations.note_drops();
        }
        stations
    });
    let mut attachments = DesiredAttachments {
        hooks: nics.hooks,
        gro: pods.gro,
        pods: situation.pairs.iter().map(pod_end).collect(),
    };
    attachments.hooks.extend(pods.hooks);
    let mut failures = nics.failures;
    failures.extend(refused::not_detached(situation));
    let mut notes = nics.notes;
    notes.extend(tunnels(situation, &attachments));
    notes.extend(foreign::first_in_reply_path(situation));
    AttachmentDecision {
        attachments,
        deliveries: pods.deliveries,
        selected: nics.selected,
        failures,
        notes,
        needs_reply_path,
        stations,
    }
}

/// Lists the NICs with tunnels over them, while there are rules that do not see what is inside.
fn tunnels(situation: &Situation<'_>, attachments: &DesiredAttachments) -> Vec<Problem> {
    let nics = situation.nics.unwrap_or_default();
    if situation.targets.targets.is_empty() {
        return Vec::new();
    }
    let links: Vec<HostLink> = nics.iter().map(|nic| nic.link.clone()).collect();
    let attached = links.iter().filter(|link| {
        let point = AttachPoint::new(Hook::Nic, link.ifindex);
        attachments.hooks.contains_key(&point)
    });
    attached
        .filter_map(|nic| tunnel_not_decided(nic, &links))
        .collect()
}

fn pod_end(pair: &Pair) -> (u32, Interface) {
    let interface = Interface {
        ifindex: pair.pod.ifindex,
        name: pair.pod.name.clone(),
        netns_id: Some(pair.netns_id),
    };
    (pair.host.ifindex, interface)
}

/// The targets that nothing is delivered to, but whose rules may drop packets: programs note the connections
/// that these pods open.
fn watched(targets: &Targets) -> impl Iterator<Item = &Target> {
    let targets = targets.targets.iter();
    targets.filter(|target| target.wants_connections && !target.wants_redirect && !target.wants_peer)
}

/// The targets that something is delivered to, draining ones included: the interfaces to be read.
pub fn delivered<'a>(targets: &'a Targets, draining: &'a [Draining]) -> impl Iterator<Item = &'a Target> {
    let targets = targets.targets.iter();
    targets
        .chain(draining.iter().map(|draining| &draining.target))
        .filter(|target| target.wants_redirect || target.wants_peer)
}

//! Drains pods: no rule redirects to them any more, but their tracked flows continue until they are idle.
//!
//! A pod that loses its policies keeps its slot, with [`xdp_core::tables::PodBlock::DRAIN`] and without
//! rules. Packets of tracked flows are still redirected; new flows are not. The installed tables show which
//! pods drain, so a drain continues after a restart of the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use xdp_core::tables::PodBlock;

use crate::{
    compile::{identity, without_rules},
    desired::{Desired, DesiredPod},
    facts::{Deliveries, NodeFacts, NotReady, Pair, Readiness},
    installed::{Installed, PodLabel, SlotIdentity},
    network_policy::CertainTraffic,
    pod::Pod,
    targets::{PodCertainty, Target, Targets},
};

/// Time without a packet after which a drain ends.
pub const QUIET: Duration = Duration::from_mins(1);

/// A pod whose tracked flows may continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// The pod's slot.
    pub slot: u32,
    /// The pod's interface. Of the pod, only identity and addresses are set.
    pub target: Target,
}

impl Draining {
    /// Whether policies restrict what is redirected to the pod. Its flows are then the stack's at once.
    pub fn is_restricted(&self, certainty: &PodCertainty) -> bool {
        let pod = (self.target.pod.namespace.clone(), self.target.pod.name.clone());
        certainty
            .get(&pod)
            .is_some_and(|certain| !certain.is_everything())
    }
}

/// Returns the draining pods: their slot has a reply path, no target wants one on their interface, and the
/// interface still has their addresses.
pub fn draining(installed: &Installed, targets: &Targets, facts: &NodeFacts) -> Vec<Draining> {
    let wanted = targets.targets.iter();
    let wanted = wanted.filter(|target| target.wants_redirect || target.wants_peer);
    let wanted: BTreeSet<u32> = wanted.map(|target| target.pair.host.ifindex).collect();
    let slots = installed.pods.iter();
    let slots = slots.filter(|(slot, label)| {
        has_reply_path(installed, **slot) && !wanted.contains(&label.identity.ifindex)
    });
    slots
        .filter_map(|(slot, label)| {
            let target = target(label, targets, facts)?;
            Some(Draining { slot: *slot, target })
        })
        .collect()
}

fn has_reply_path(installed: &Installed, slot: u32) -> bool {
    let block = installed.words.get(&slot).and_then(|word| word.block());
    let block = block.and_then(|index| installed.blocks.pods.get(index));
    block.is_some_and(|block| block.flags & (PodBlock::REPLY_PATH | PodBlock::DRAIN) != 0)
}

/// Returns the target of a draining pod. `None`: its interface is absent, or its addresses belong to another
/// pod.
fn target(label: &PodLabel, targets: &Targets, facts: &NodeFacts) -> Option<Target> {
    let identity = &label.identity;
    let same = |pair: &&Pair| pair.host.ifindex == identity.ifindex && pair.pod.mac == identity.mac;
    let pair = facts.pairs.iter().find(same)?;
    let others = targets.targets.iter();
    let others = others.filter(|target| target.pair.host.ifindex != identity.ifindex);
    let taken: BTreeSet<IpAddr> = others.flat_map(|target| target.addresses.clone()).collect();
    // Another interface that carries the address, too, ends nothing: what is programmed stays so.
    let carried = |address: &&IpAddr| pair.addresses.iter().any(|ip| ip.to_canonical() == **address);
    let addresses = label.addresses.iter().filter(carried);
    let addresses: Vec<IpAddr> = addresses.filter(|ip| !taken.contains(ip)).copied().collect();
    (!addresses.is_empty()).then(|| Target {
        certain: Arc::new(CertainTraffic::everything()),
        pod: Arc::new(Pod {
            namespace: identity.namespace.clone(),
            name: identity.pod.clone(),
            uid: identity.uid.clone(),
            addresses: addresses.clone(),
            ..Pod::default()
        }),
        pair: pair.clone(),
        addresses,
        doubt: None,
        policies: Vec::new(),
        wants_redirect: true,
        wants_peer: false,
        wants_connections: false,
    })
}

/// Adds the draining pods to the desired tables. The drain of a pod that is not ready any more ends.
pub fn keep_draining(desired: &mut Desired, draining: &[Draining], deliveries: &BTreeMap<u32, Deliveries>) {
    for Draining { target, .. } in draining {
        let ifindex = target.pair.host.ifindex;
        let ready = deliveries.get(&ifindex);
        let ready =
            ready.filter(|found| found.redirect == Readiness::Ready && found.reply_path == Readiness::Ready);
        let Some(ready) = ready else { continue };
        let mut pods = desired.pods.iter_mut();
        if let Some(pod) = pods.find(|pod| pod.identity.ifindex == ifindex) {
            // The pod has rules, but none of them redirects.
            pod.readiness = ready.redirect.clone();
            pod.reply_path = ready.reply_path.clone();
            pod.draining = true;
        } else {
            desired.pods.push(DesiredPod {
                peer: not_requested(),
                draining: true,
                ..without_rules(target, deliveries)
            });
        }
    }
}

fn not_requested() -> Readiness {
    Readiness::NotReady {
        reason: NotReady::NotPrepared,
        message: "no rule redirects to the pod any more".into(),
    }
}

/// The state of the flows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Time since a fixed point.
    pub now: Duration,
    /// Number of packets of drained flows on this node so far.
    pub packets: u64,
    /// Number of tracked flows by slot. A slot without flows may be absent.
    pub flows: BTreeMap<u32, u64>,
}

/// The time since which the flows of each draining pod are idle. It is not pinned: a restarted agent starts
/// at zero.
#[derive(Debug, Default)]
pub struct Drains(BTreeMap<SlotIdentity, Idle>);

#[derive(Clone, Copy, Debug)]
struct Idle {
    packets: u64,
    since: Duration,
}

impl Drains {
    /// Returns the pods that keep draining. The programs count packets per node, so a pod counts as idle only
    /// when all draining pods are.
    pub fn update(&mut self, draining: Vec<Draining>, moment: &Moment) -> Vec<Draining> {
        let mut known = std::mem::take(&mut self.0);
        let keeps_draining = |draining: &Draining| {
            let begin = Idle {
                packets: moment.packets,
                since: moment.now,
            };
            let identity = identity(&draining.target);
            let before = known.remove(&identity);
            let idle = before
                .filter(|idle| idle.packets == moment.packets)
                .unwrap_or(begin);
            self.0.insert(identity, idle);
            let flows = moment.flows.get(&draining.slot).copied().unwrap_or(0);
            flows > 0 && moment.now.saturating_sub(idle.since) < QUIET
        };
        draining.into_iter().filter(keeps_draining).collect()
    }
}

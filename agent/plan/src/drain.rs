//! Pods to which nothing redirects any more: flows that were taken go on until they are quiet.
//!
//! A pod that loses its policies keeps its slot, with [`xdp_core::tables::PodBlock::DRAIN`] and without rules: packets of
//! flows in the table are still redirected, new ones are not. What is installed says which pods these are, so an agent
//! that starts goes on where another one ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use xdp_core::tables::PodBlock;

use crate::{
    compile::without_rules,
    desired::{Desired, DesiredPod},
    facts::{Deliveries, NodeFacts, NotReady, Pair, Readiness},
    installed::{Installed, PodLabel, SlotIdentity},
    pod::Pod,
    targets::{Target, Targets},
};

/// Without a packet for this long, the flows count as gone.
pub const QUIET: Duration = Duration::from_mins(1);

/// A pod whose flows may still go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// The slot it has.
    pub slot: u32,
    /// Its interface; the pod has a name, and no more. Wants nothing but what it has.
    pub target: Target,
}

/// Pods that are installed with a reply path, of which no target wants one, and whose interface is still there with their
/// addresses.
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

/// As what it goes on. `None`: its interface is gone, or its addresses belong to another pod.
fn target(label: &PodLabel, targets: &Targets, facts: &NodeFacts) -> Option<Target> {
    let identity = &label.identity;
    let same = |pair: &&Pair| pair.host.ifindex == identity.ifindex && pair.pod.mac == identity.mac;
    let pair = facts.pairs.iter().find(same)?;
    let others = targets.targets.iter();
    let others = others.filter(|target| target.pair.host.ifindex != identity.ifindex);
    let taken: BTreeSet<IpAddr> = others.flat_map(|target| target.addresses.clone()).collect();
    let carried = |address: &&IpAddr| {
        let carriers = facts.pairs.iter();
        let mut carriers =
            carriers.filter(|pair| pair.addresses.iter().any(|ip| ip.to_canonical() == **address));
        carriers.next() == Some(pair) && carriers.next().is_none()
    };
    let addresses = label.addresses.iter().filter(carried);
    let addresses: Vec<IpAddr> = addresses.filter(|ip| !taken.contains(ip)).copied().collect();
    (!addresses.is_empty()).then(|| Target {
        pod: Arc::new(Pod {
            namespace: identity.namespace.clone(),
            name: identity.pod.clone(),
            uid: identity.uid.clone(),
            addresses: addresses.clone(),
            ..Pod::default()
        }),
        pair: pair.clone(),
        addresses,
        policies: Vec::new(),
        wants_redirect: true,
        wants_peer: false,
    })
}

/// Adds the pods that go on to what is desired. One that could not take its packets any more does not go on.
pub fn go_on(desired: &mut Desired, draining: &[Draining], deliveries: &BTreeMap<u32, Deliveries>) {
    for Draining { target, .. } in draining {
        let ifindex = target.pair.host.ifindex;
        let able = deliveries.get(&ifindex);
        let able =
            able.filter(|found| found.redirect == Readiness::Ready && found.reply_path == Readiness::Ready);
        let Some(able) = able else { continue };
        let mut pods = desired.pods.iter_mut();
        if let Some(pod) = pods.find(|pod| pod.identity.ifindex == ifindex) {
            // It has rules, none of which redirects.
            pod.readiness = able.redirect.clone();
            pod.reply_path = able.reply_path.clone();
            pod.draining = true;
        } else {
            desired.pods.push(DesiredPod {
                peer: not_asked(),
                draining: true,
                ..without_rules(target, deliveries)
            });
        }
    }
}

fn not_asked() -> Readiness {
    Readiness::NotReady {
        reason: NotReady::NotPrepared,
        message: "its rules are gone".into(),
    }
}

/// What is known about the flows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since any fixed time.
    pub now: Duration,
    /// Packets of drained flows on this node so far.
    pub packets: u64,
    /// Flows in the table by slot; none: zero.
    pub flows: BTreeMap<u32, u64>,
}

/// Since when the flows of each draining pod are quiet. Not pinned: a new agent begins to count again.
#[derive(Debug, Default)]
pub struct Drains(BTreeMap<SlotIdentity, Quiet>);

#[derive(Clone, Copy, Debug)]
struct Quiet {
    packets: u64,
    since: Duration,
}

impl Drains {
    /// Those that go on. The programs count packets of the whole node, so a pod is quiet when all are.
    pub fn update(&mut self, draining: Vec<Draining>, moment: &Moment) -> Vec<Draining> {
        let mut known = std::mem::take(&mut self.0);
        let goes_on = |draining: &Draining| {
            let begin = Quiet {
                packets: moment.packets,
                since: moment.now,
            };
            let identity = identity(draining);
            let before = known.remove(&identity);
            let quiet = before
                .filter(|quiet| quiet.packets == moment.packets)
                .unwrap_or(begin);
            self.0.insert(identity, quiet);
            let flows = moment.flows.get(&draining.slot).copied().unwrap_or(0);
            flows > 0 && moment.now.saturating_sub(quiet.since) < QUIET
        };
        draining.into_iter().filter(goes_on).collect()
    }
}

fn identity(Draining { target, .. }: &Draining) -> SlotIdentity {
    let Target { pod, pair, .. } = target;
    SlotIdentity {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        ifindex: pair.host.ifindex,
        mac: pair.pod.mac,
    }
}

//! One reconcile: compares the store with what should exist, and returns what to write. Without IO.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_client::{
    backoff::{Backoff, RetrySchedule},
    object::ObjectName,
};
use xdp_crds::{
    XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED},
};

use crate::{
    api::StatusWrite,
    events::{EventDraft, NicEvents, PolicyEvents},
    peers::{self, Chain},
    select, status,
    store::{ClusterState, PolicyObject},
};

/// Shortest time between two writes of a policy's status.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What the operator remembers between reconciles.
#[derive(Debug)]
pub struct ReconcileMemory {
    /// When the slices of a peer may be written.
    pub peers: RetrySchedule<ObjectName>,
    /// When the status of a policy may be written.
    pub statuses: RetrySchedule<ObjectName>,
    policy_events: PolicyEvents,
    nic_events: NicEvents,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Slices.
    pub chains: Vec<Chain>,
    /// Statuses of policies.
    pub statuses: Vec<StatusWrite>,
    /// Events.
    pub events: Vec<EventDraft>,
    /// When the next reconcile is due even if nothing changes.
    pub next: Option<Instant>,
    /// Counts for metrics.
    pub snapshot: Snapshot,
}

/// Counts of objects, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of policies, by the status of their conditions Accepted and Programmed.
    pub policies: BTreeMap<(bool, bool), i64>,
    /// Number of addresses in all slices.
    pub peer_addresses: usize,
}

impl Default for ReconcileMemory {
    fn default() -> Self {
        Self {
            peers: RetrySchedule::new(Duration::ZERO, Backoff::API),
            statuses: RetrySchedule::new(STATUS_INTERVAL, Backoff::API),
            policy_events: PolicyEvents::default(),
            nic_events: NicEvents::default(),
        }
    }
}

/// Compares the store with what should exist.
pub fn decide(cluster: &ClusterState, memory: &mut ReconcileMemory, now: Instant, time: &Time) -> Work {
    let plan = peers::plan(cluster);
    let mut work = Work::default();
    work.snapshot.peer_addresses = plan.addresses;
    for chain in plan.chains {
        match memory.peers.wait(&chain.peer, now) {
            Some(until) => work.reconcile_at(until),
            None => work.chains.push(chain),
        }
    }
    for (name, policy) in cluster.policies.iter().filter(|(_, policy)| !policy.deleting) {
        for_policy(cluster, memory, (name, policy), (now, time), &mut work);
    }
    work.events.extend(memory.nic_events.update(cluster));
    let uids: BTreeSet<_> = cluster
        .policies
        .iter()
        .map(|(_, policy)| policy.uid.as_str())
        .collect();
    memory.policy_events.retain(|uid| uids.contains(uid));
    memory.peers.prune(now);
    memory.statuses.prune(now);
    work
}

fn for_policy(
    cluster: &ClusterState,
    memory: &mut ReconcileMemory,
    (name, policy): (&ObjectName, &PolicyObject),
    (now, time): (Instant, &Time),
    work: &mut Work,
) {
    let targets = match &policy.content {
        Ok(content) => select::targets(cluster, content),
        Err(_) => BTreeMap::new(),
    };
    let status = status::status(policy, &targets, |node| cluster.report(node), time);
    work.snapshot.count(&status);
    let (event, later) = memory.policy_events.update(name, policy, now);
    work.events.extend(event);
    if let Some(later) = later {
        work.reconcile_at(later);
    }
    if status::is_written(policy.status.as_ref(), &status) {
        return;
    }
    match memory.statuses.wait(name, now) {
        Some(until) => work.reconcile_at(until),
        None => work.statuses.push(StatusWrite {
            name: name.clone(),
            uid: policy.uid.clone(),
            status,
        }),
    }
}

impl Work {
    fn reconcile_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Snapshot {
    fn count(&mut self, status: &XdpPolicyStatus) {
        let is_true = |kind| {
            let found = status::find(&status.conditions, kind);
            found.is_some_and(|condition| condition.status == "True")
        };
        *self
            .policies
            .entry((is_true(ACCEPTED), is_true(PROGRAMMED)))
            .or_default() += 1;
    }
}

//! What is to be done now: one look at the world.

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
    announce::{
        Note, {self},
    },
    api::StatusWrite,
    peers::{
        Chain, {self},
    },
    select, status,
    world::{PolicyObject, World},
};

/// Least time from one write of a policy's status to the next.
pub const STATUS_APART: Duration = Duration::from_secs(1);

/// What is remembered from round to round.
#[derive(Debug)]
pub struct Memory {
    /// When slices of a peer may be written.
    pub peers: RetrySchedule<ObjectName>,
    /// When the status of a policy may be written.
    pub statuses: RetrySchedule<ObjectName>,
    policies: announce::Policies,
    nics: announce::Nics,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// For slices.
    pub chains: Vec<Chain>,
    /// For statuses.
    pub statuses: Vec<StatusWrite>,
    /// Events.
    pub notes: Vec<Note>,
    /// When the next round is due even if nothing changes.
    pub next: Option<Instant>,
    /// How things are.
    pub tally: Tally,
}

/// How things are, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Policies, by the status of their conditions Accepted and Programmed.
    pub policies: BTreeMap<(bool, bool), i64>,
    /// Addresses in all slices.
    pub peer_addresses: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            peers: RetrySchedule::new(Duration::ZERO, Backoff::API),
            statuses: RetrySchedule::new(STATUS_APART, Backoff::API),
            policies: announce::Policies::default(),
            nics: announce::Nics::default(),
        }
    }
}

/// Compares the world with what it should be.
pub fn work(world: &World, memory: &mut Memory, now: Instant, time: &Time) -> Work {
    let plan = peers::plan(world);
    let mut work = Work::default();
    work.tally.peer_addresses = plan.addresses;
    for chain in plan.chains {
        match memory.peers.wait(&chain.peer, now) {
            Some(until) => work.look_again(until),
            None => work.chains.push(chain),
        }
    }
    for (name, policy) in world.policies.iter().filter(|(_, policy)| !policy.deleting) {
        for_policy(world, memory, (name, policy), (now, time), &mut work);
    }
    work.notes.extend(memory.nics.look(world));
    let uids: BTreeSet<_> = world
        .policies
        .iter()
        .map(|(_, policy)| policy.uid.as_str())
        .collect();
    memory.policies.retain(|uid| uids.contains(uid));
    memory.peers.prune(now);
    memory.statuses.prune(now);
    work
}

fn for_policy(
    world: &World,
    memory: &mut Memory,
    (name, policy): (&ObjectName, &PolicyObject),
    (now, time): (Instant, &Time),
    work: &mut Work,
) {
    let targets = match &policy.content {
        Ok(content) => select::targets(world, content),
        Err(_) => BTreeMap::new(),
    };
    let status = status::status(policy, &targets, |node| world.report(node), time);
    work.tally.count(&status);
    let (note, later) = memory.policies.look(name, policy, now);
    work.notes.extend(note);
    if let Some(later) = later {
        work.look_again(later);
    }
    if status::is_written(policy.status.as_ref(), &status) {
        return;
    }
    match memory.statuses.wait(name, now) {
        Some(until) => work.look_again(until),
        None => work.statuses.push(StatusWrite {
            name: name.clone(),
            uid: policy.uid.clone(),
            status,
        }),
    }
}

impl Work {
    fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Tally {
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

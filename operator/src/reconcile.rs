//! What the operator has to write, kept up to date by the changes of the cluster. Without IO.
//!
//! ```text
//! event ─▶ store ─▶ changes ─▶ sets, targets ─▶ queues ─▶ start ─▶ Command ─▶ (IO) ─▶ finish
//! ```
//!
//! A change costs what it concerns: a pod is compared with the selectors, not the selectors with all pods.
//! What is to be written is decided when its turn comes, from what is known then.

mod notices;
mod policies;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use notices::Notices;
pub use policies::PeerLimits;
use policies::Policies;
use xdp_client::object::{ObjectName, Versioned};
use xdp_crds::policy::SetId;

use crate::{
    api::StatusWrite,
    events::EventDraft,
    peers::{PeerSets, Step},
    queue::{Finish, WorkQueue},
    store::{Change, ClusterState, PolicyObject, StoreEvent, StoredSlice},
};

/// Shortest time between two writes of a policy's status.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The agents of all nodes that run pods of the namespace read each write of a status. This is the largest
/// number of these reads in a second.
pub const STATUS_READS_PER_SECOND: u32 = 500;
/// Shortest time between two writes of a set: pods that start together become one write.
pub const SET_INTERVAL: Duration = Duration::from_millis(250);
/// Concurrent writes of slices, and of statuses.
const CONCURRENT_WRITES: usize = 8;

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Writes or deletes a slice.
    Slice(SliceCommand),
    /// Writes the status of a policy.
    Status(Box<StatusWrite>),
    /// Creates an Event.
    Event(Box<EventDraft>),
}

/// The write of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceCommand {
    work: PeerWork,
    /// What to write.
    pub step: Step,
    /// Whether nothing more of the set is to be written.
    is_last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PeerWork {
    Set(SetId),
    /// An object that belongs to no set.
    Stray(ObjectName),
}

/// The answer to a request, or the jitter of its backoff (from 0 to 1) if it failed.
pub type Answer<T> = Result<T, f32>;

/// Counts of objects, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of policies, by the status of their conditions Accepted and Programmed.
    pub policies: BTreeMap<(bool, bool), i64>,
    /// Number of address sets.
    pub peer_sets: usize,
    /// Number of addresses in all sets.
    pub peer_addresses: usize,
}

/// The state of all controllers.
#[derive(Debug)]
pub struct Reconciler {
    /// What is known of the cluster.
    cluster: ClusterState,
    sets: PeerSets,
    policies: Policies,
    notices: Notices,
    slices: WorkQueue<PeerWork>,
    statuses: WorkQueue<ObjectName>,
    /// Whether sets and targets follow the store: from the first complete lists on.
    follows: bool,
    leads: bool,
    /// Whether an agent has reported, when the sets were last looked at.
    has_reports: bool,
}

impl Reconciler {
    /// Creates a reconciler that knows nothing yet, and does not lead.
    pub fn new(cluster: ClusterState, limits: PeerLimits) -> Self {
        Self {
            cluster,
            sets: PeerSets::default(),
            policies: Policies::new(limits),
            notices: Notices::default(),
            slices: WorkQueue::new(CONCURRENT_WRITES),
            statuses: WorkQueue::new(CONCURRENT_WRITES),
            follows: false,
            leads: false,
            has_reports: false,
        }
    }

    /// Returns what is known of the cluster.
    pub const fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    /// Applies an event of a watch.
    pub fn apply(&mut self, event: StoreEvent, now: Instant) {
        let changes = self.cluster.apply(event);
        if self.follows {
            for change in changes {
                self.follow(change, now);
            }
        } else if self.cluster.is_complete() {
            self.follows = true;
            self.has_reports = !self.cluster.node_states.is_empty();
            self.policies.build(&mut self.sets, &mut self.cluster);
            self.queue_all(now);
        }
    }

    /// Starts or stops to lead. Only a leader writes.
    pub fn set_leading(&mut self, leads: bool, now: Instant) {
        self.leads = leads;
        self.slices = WorkQueue::new(CONCURRENT_WRITES);
        self.statuses = WorkQueue::new(CONCURRENT_WRITES);
        self.queue_all(now);
    }

    fn queue_all(&mut self, now: Instant) {
        if !self.leads || !self.follows {
            return;
        }
        self.notices.begin(&self.cluster, now);
        let names: Vec<ObjectName> = self
            .cluster
            .policies
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| self.queue_status(name, now));
        self.queue_sets(now);
        let stored: Vec<ObjectName> = self
            .cluster
            .peer_sets
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        stored.iter().for_each(|name| self.stored_changed(name, now));
    }

    fn queue_sets(&mut self, now: Instant) {
        let ids: Vec<SetId> = self.sets.ids().cloned().collect();
        ids.into_iter().for_each(|id| self.queue_set(id, now));
    }

    fn queue_set(&mut self, id: SetId, now: Instant) {
        if self.leads {
            let users = self.sets.users(&id).map(str::to_owned).collect();
            self.slices.add(PeerWork::Set(id), users, now);
        }
    }

    fn queue_status(&mut self, name: &ObjectName, now: Instant) {
        if self.leads {
            self.statuses.add(name.clone(), vec![name.namespace.clone()], now);
        }
    }

    fn follow(&mut self, change: Change, now: Instant) {
        match change {
            Change::Policy(name) => self.policy_changed(&name, now),
            Change::Pod(name, before, after) => {
                let labels = self.cluster.namespace_labels(&name.namespace);
                let (before, after) = (before.as_ref(), after.as_ref());
                let sets = self.sets.pod_changed((&name.namespace, &labels), before, after);
                sets.into_iter().for_each(|id| self.queue_set(id, now));
                let policies = self.policies.pod_changed(&name.namespace, before, after);
                policies.iter().for_each(|name| self.queue_status(name, now));
            }
            Change::Namespace(name, before) => {
                let after = self.cluster.namespace_labels(&name);
                let pods: Vec<_> = self.cluster.pods.within(&name, "").map(|(_, pod)| pod).collect();
                let sets = self
                    .sets
                    .namespace_changed(&name, &before, &after, pods.iter().copied());
                sets.into_iter().for_each(|id| self.queue_set(id, now));
            }
            Change::Node(node) => self.node_changed(&node, now),
            Change::Reports(node, uids) => {
                let names: Vec<ObjectName> =
                    uids.iter().filter_map(|uid| self.policies.by_uid(uid)).collect();
                names.iter().for_each(|name| self.queue_status(name, now));
                self.notice_node(&node);
            }
            Change::WholeReport(node) => self.node_changed(&node, now),
            Change::PeerSet(name) => self.stored_changed(&name, now),
        }
    }

    fn policy_changed(&mut self, name: &ObjectName, now: Instant) {
        let sets = self.policies.refresh(name, &mut self.sets, &mut self.cluster);
        for id in sets.changed {
            if self.leads {
                let mut users: Vec<String> = self.sets.users(&id).map(str::to_owned).collect();
                if users.is_empty() {
                    users.push(name.namespace.clone());
                }
                self.slices.add(PeerWork::Set(id), users, now);
            }
        }
        sets.statuses.iter().for_each(|name| self.queue_status(name, now));
        if self.leads {
            self.notices.policy(name, self.cluster.policies.get(name), now);
        }
    }

    fn node_changed(&mut self, node: &str, now: Instant) {
        let names = self.policies.with_targets_on(node);
        names.iter().for_each(|name| self.queue_status(name, now));
        self.notice_node(node);
        let has_reports = !self.cluster.node_states.is_empty();
        if std::mem::replace(&mut self.has_reports, has_reports) != has_reports {
            self.queue_sets(now);
        }
    }

    fn notice_node(&mut self, node: &str) {
        if self.leads {
            self.notices.node(node, &self.cluster);
        }
    }

    fn stored_changed(&mut self, name: &ObjectName, now: Instant) {
        match self.sets.stored_changed(name) {
            Some(id) => self.queue_set(id, now),
            None if self.leads && self.cluster.peer_sets.get(name).is_some() => {
                self.slices
                    .add(PeerWork::Stray(name.clone()), vec![String::new()], now);
            }
            None => {}
        }
    }

    /// Returns a request to make now, or `None`. `time` is the time for conditions.
    pub fn start(&mut self, now: Instant, time: &Time) -> Option<Command> {
        if !self.leads || !self.follows {
            return None;
        }
        if let Some(command) = self.start_slice(now) {
            return Some(Command::Slice(command));
        }
        if let Some(write) = self.start_status(now, time) {
            return Some(Command::Status(Box::new(write)));
        }
        let draft = self.notices.start(&self.cluster, now)?;
        Some(Command::Event(Box::new(draft)))
    }

    fn start_slice(&mut self, now: Instant) -> Option<SliceCommand> {
        while let Some(work) = self.slices.start(now) {
            let next = match &work {
                PeerWork::Set(id) => self.sets.next_step(id, &self.cluster),
                PeerWork::Stray(name) => {
                    let is_stray = self.cluster.peer_sets.get(name).is_some()
                        && self.sets.stored_changed(name).is_none();
                    is_stray.then(|| (Step::Delete(name.clone()), true))
                }
            };
            if let Some((step, is_last)) = next {
                return Some(SliceCommand { work, step, is_last });
            }
            self.slices
                .finish(&work, Finish::Nothing, self.waiting_for(&work), now);
        }
        None
    }

    fn waiting_for(&self, work: &PeerWork) -> Vec<String> {
        let users: Vec<String> = match work {
            PeerWork::Set(id) => self.sets.users(id).map(str::to_owned).collect(),
            PeerWork::Stray(_) => Vec::new(),
        };
        if users.is_empty() {
            vec![String::new()]
        } else {
            users
        }
    }

    fn start_status(&mut self, now: Instant, time: &Time) -> Option<StatusWrite> {
        while let Some(name) = self.statuses.start(now) {
            if let Some(write) = self.policies.status(&name, &self.cluster, time) {
                return Some(write);
            }
            let namespaces = vec![name.namespace.clone()];
            self.statuses.finish(&name, Finish::Nothing, namespaces, now);
        }
        None
    }

    /// Records the answer to the write of a slice: the slice as it is stored then.
    pub fn finish_slice(
        &mut self,
        command: &SliceCommand,
        answer: Answer<Versioned<StoredSlice>>,
        now: Instant,
    ) {
        let finish = match answer {
            Ok(stored) => {
                self.cluster.peer_sets.put(stored);
                if command.is_last {
                    Finish::Pause(SET_INTERVAL)
                } else {
                    Finish::Continue
                }
            }
            Err(jitter) => Finish::Failed(jitter),
        };
        self.slices
            .finish(&command.work, finish, self.waiting_for(&command.work), now);
    }

    /// Records the answer to the write of a status: the policy as it is stored then.
    pub fn finish_status(
        &mut self,
        name: &ObjectName,
        answer: Answer<Versioned<PolicyObject>>,
        now: Instant,
    ) {
        let finish = match answer {
            Ok(stored) => {
                let mut changed = false;
                self.cluster.put_policy(stored, |_| changed = true);
                if changed {
                    self.policy_changed(name, now);
                }
                Finish::Pause(self.status_interval(name))
            }
            Err(jitter) => Finish::Failed(jitter),
        };
        self.statuses
            .finish(name, finish, vec![name.namespace.clone()], now);
    }

    /// Returns the time until the next write of a policy's status, by the number of its readers.
    fn status_interval(&self, name: &ObjectName) -> Duration {
        let pods = self.cluster.pods.within(&name.namespace, "");
        let nodes: std::collections::BTreeSet<&str> = pods.map(|(_, pod)| &*pod.node).collect();
        STATUS_INTERVAL.max(Duration::from_secs(1) * nodes.len() as u32 / STATUS_READS_PER_SECOND)
    }

    /// Records that a request for an Event has ended.
    pub fn finish_event(&mut self) {
        self.notices.finish();
    }

    /// Returns when something is due even if nothing changes.
    pub fn due(&self) -> Option<Instant> {
        let due = [self.slices.due(), self.statuses.due(), self.notices.due()];
        due.into_iter().flatten().min()
    }

    /// Drops what is not needed any more.
    pub fn prune(&mut self, now: Instant) {
        self.slices.prune(now);
        self.statuses.prune(now);
    }

    /// Returns counts of objects.
    pub fn snapshot(&self) -> Snapshot {
        let (peer_sets, peer_addresses) = self.sets.size();
        Snapshot {
            policies: self.policies.counts(),
            peer_sets,
            peer_addresses,
        }
    }
}

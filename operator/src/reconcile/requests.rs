//! The requests to make: started in turns, and finished with the answer.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_client::object::{ObjectName, Versioned};
use xdp_crds::policy::SetId;

use super::Reconciler;
use crate::{
    api::StatusWrite,
    events::EventDraft,
    peers::Step,
    queue::Finish,
    store::{PolicyObject, StoredSlice},
};

/// Shortest time between two writes of a policy's status.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The agents of all nodes that run pods of the namespace read each write of a status. This is the largest
/// number of these reads in a second.
pub const STATUS_READS_PER_SECOND: u32 = 500;
/// Shortest time between two writes of a set: pods that start together become one write.
pub const SET_INTERVAL: Duration = Duration::from_millis(250);
/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Writes or deletes a slice.
    Slice(SliceRequest),
    /// Writes the status of a policy.
    Status(Box<StatusWrite>),
    /// Creates an Event.
    Event(Box<EventDraft>),
}

/// The write of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceRequest {
    pub(super) work: PeerWork,
    /// What to write.
    pub step: Step,
    /// Whether nothing more of the set is to be written.
    pub(super) is_last: bool,
}

/// The work on slices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PeerWork {
    Set(SetId),
    /// An object that belongs to no set.
    Stray(ObjectName),
}

/// The answer to a request, or the jitter of its backoff (from 0 to 1) if it failed.
pub type Answer<T> = Result<T, f32>;

impl Reconciler {
    /// Returns a request to make now, or `None`. `time` is the time for conditions.
    pub fn start(&mut self, now: Instant, time: &Time) -> Option<Request> {
        if !self.leads || !self.follows {
            return None;
        }
        if let Some(command) = self.start_slice(now) {
            return Some(Request::Slice(command));
        }
        if let Some(write) = self.start_status(now, time) {
            return Some(Request::Status(Box::new(write)));
        }
        let draft = self.notices.start(&self.cluster, now)?;
        Some(Request::Event(Box::new(draft)))
    }

    fn start_slice(&mut self, now: Instant) -> Option<SliceRequest> {
        while let Some(work) = self.slices.start(now) {
            let next = match &work {
                PeerWork::Set(id) => self.sets.next_step(id, &self.cluster),
                PeerWork::Stray(name) => {
                    let stored = self.cluster.peer_sets.get(name);
                    stored.map(|_| (Step::Delete(name.clone()), true))
                }
            };
            if let Some((step, is_last)) = next {
                return Some(SliceRequest { work, step, is_last });
            }
            self.slices
                .finish(&work, Finish::Nothing, self.waiting_for(&work), now);
        }
        None
    }

    /// Returns the namespaces in whose turns work is done. That of a set without users has a turn of its own.
    pub(super) fn waiting_for(&self, work: &PeerWork) -> Vec<String> {
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
        command: &SliceRequest,
        answer: Answer<Versioned<StoredSlice>>,
        now: Instant,
    ) {
        let finish = match answer {
            Ok(stored) => {
                let (name, is_gone) = (stored.name.clone(), stored.value.is_none());
                self.cluster.peer_sets.put(stored);
                if is_gone {
                    // A set may need the slice again by now, and the watch reports no change any more.
                    self.stored_changed(&name, now);
                }
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
        let nodes: BTreeSet<&str> = pods.map(|(_, pod)| &*pod.node).collect();
        STATUS_INTERVAL.max(Duration::from_secs(1) * nodes.len() as u32 / STATUS_READS_PER_SECOND)
    }

    /// Records that a request for an Event has ended.
    pub fn finish_event(&mut self) {
        self.notices.finish();
    }
}

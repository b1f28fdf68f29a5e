//! The Events to create, and when to look at a policy again whose failure may pass.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use xdp_client::object::ObjectName;

use crate::{
    events::{EventDraft, NicEvents, PolicyEvents},
    store::{ClusterState, PolicyObject},
};

/// Events that wait. With more, the oldest are dropped: what they say is in the statuses.
const MAX_WAITING: usize = 10_000;

/// Events to create, one after the other.
#[derive(Debug, Default)]
pub(super) struct Notices {
    policies: PolicyEvents,
    nics: NicEvents,
    waiting: VecDeque<EventDraft>,
    is_running: bool,
    /// Policies to look at again.
    later: BTreeSet<(Instant, ObjectName)>,
    uids: BTreeMap<ObjectName, String>,
}

impl Notices {
    /// Starts with what is stored: a policy whose status is known has had its Event.
    pub(super) fn begin(&mut self, cluster: &ClusterState, now: Instant) {
        *self = Self::default();
        for (name, policy) in cluster.policies.iter() {
            self.policy(name, Some(policy), now);
        }
        for (name, _) in cluster.node_states.iter() {
            self.node(&name.name, cluster);
        }
    }

    /// Looks at a policy that has changed, or that does not exist any more.
    pub(super) fn policy(&mut self, name: &ObjectName, policy: Option<&PolicyObject>, now: Instant) {
        let uid = policy.map(|policy| policy.uid.as_str());
        if let Some(former) = self.uids.get(name).filter(|former| uid != Some(former.as_str())) {
            self.policies.remove(former);
            self.uids.remove(name);
        }
        let Some(policy) = policy.filter(|policy| !policy.deleting) else {
            return;
        };
        self.uids.insert(name.clone(), policy.uid.clone());
        let (event, later) = self.policies.update(name, policy, now);
        self.add(event);
        self.later.extend(later.map(|at| (at, name.clone())));
    }

    /// Looks at a node whose report has changed.
    pub(super) fn node(&mut self, node: &str, cluster: &ClusterState) {
        let events = self.nics.update(node, cluster);
        self.add(events);
    }

    fn add(&mut self, events: impl IntoIterator<Item = EventDraft>) {
        self.waiting.extend(events);
        let excess = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..excess);
    }

    /// Returns an Event to create now: one at a time.
    pub(super) fn start(&mut self, cluster: &ClusterState, now: Instant) -> Option<EventDraft> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, name)) = self.later.pop_first() {
                self.policy(&name, cluster.policies.get(&name), now);
            }
        }
        if self.is_running {
            return None;
        }
        let draft = self.waiting.pop_front()?;
        self.is_running = true;
        Some(draft)
    }

    /// Records that the request for an Event has ended.
    pub(super) fn finish(&mut self) {
        self.is_running = false;
    }

    /// Returns when a policy must be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }
}

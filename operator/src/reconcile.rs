//! What the operator has to write, kept up to date by the changes of the cluster. Without IO.
//!
//! ```text
//! event ─▶ store ─▶ changes ─▶ sets, targets ─▶ queues ─▶ start ─▶ Request ─▶ (IO) ─▶ finish
//! ```
//!
//! A change costs what it concerns: a pod is compared with the selectors, not the selectors with all pods.
//! What is to be written is decided when its turn comes, from what is known then.

mod cluster_addresses;
mod network_policies;
mod notices;
mod policies;
mod requests;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Instant};

use cluster_addresses::{AddressChange, ClusterAddresses};
use ipnet::IpNet;
use network_policies::NetworkPolicies;
use notices::Notices;
pub use policies::PeerLimits;
use policies::Policies;
use requests::PeerWork;
pub use requests::{Answer, Request, SET_INTERVAL, STATUS_INTERVAL, STATUS_READS_PER_SECOND, SliceRequest};
use xdp_client::object::ObjectName;
use xdp_crds::{network_policy::ClusterSet, policy::SetId};

use crate::{
    peers::PeerSets,
    queue::WorkQueue,
    store::{ClusterState, ObjectChange, StoreEvent},
};

/// Concurrent writes of slices, and of statuses.
const CONCURRENT_WRITES: usize = 8;

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
    addresses: ClusterAddresses,
    policies: Policies,
    network_policies: NetworkPolicies,
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
    /// Creates a reconciler that knows nothing yet, and does not lead. `cidrs`: networks with pods that are
    /// in no node's `podCIDRs`.
    pub fn new(cluster: ClusterState, limits: PeerLimits, cidrs: Vec<IpNet>) -> Self {
        Self {
            cluster,
            sets: PeerSets::default(),
            addresses: ClusterAddresses::new(cidrs),
            policies: Policies::new(limits),
            network_policies: NetworkPolicies::new(limits),
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
            self.build();
            self.queue_all(now);
        }
    }

    /// Starts from complete lists.
    fn build(&mut self) {
        for (name, node) in self.cluster.nodes.iter() {
            self.addresses.node_changed(&name.name, Some(node));
        }
        for (_, pod) in self.cluster.pods.iter() {
            self.addresses.pod_changed(None, Some(pod));
        }
        self.policies.build(&mut self.sets, &mut self.cluster);
        self.network_policies
            .build(&mut self.sets, &mut self.cluster, &self.addresses);
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
        for name in &names {
            self.queue_status(name, now);
        }
        self.queue_sets(now);
        let stored: Vec<ObjectName> = self
            .cluster
            .peer_sets
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        for name in &stored {
            self.stored_changed(name, now);
        }
    }

    fn queue_sets(&mut self, now: Instant) {
        let ids: Vec<SetId> = self.sets.ids().cloned().collect();
        for id in ids {
            self.queue_set(id, now);
        }
    }

    fn queue_set(&mut self, id: SetId, now: Instant) {
        if self.leads {
            let work = PeerWork::Set(id);
            let namespaces = self.waiting_for(&work);
            self.slices.add(work, namespaces, now);
        }
    }

    fn queue_status(&mut self, name: &ObjectName, now: Instant) {
        if self.leads {
            self.statuses.add(name.clone(), vec![name.namespace.clone()], now);
        }
    }

    fn follow(&mut self, change: ObjectChange, now: Instant) {
        match change {
            ObjectChange::Policy(name) => self.policy_changed(&name, now),
            ObjectChange::Pod(name, before, after) => {
                let addresses = self.addresses.pod_changed(before.as_ref(), after.as_ref());
                self.addresses_changed(ClusterSet::Disputed, &addresses, now);
                let labels = self.cluster.namespace_labels(&name.namespace);
                let (before, after) = (before.as_ref(), after.as_ref());
                let sets = self.sets.pod_changed((&name.namespace, labels), before, after);
                for id in sets {
                    self.queue_set(id, now);
                }
                let policies = self.policies.pod_changed(&name.namespace, before, after);
                for name in &policies {
                    self.queue_status(name, now);
                }
            }
            ObjectChange::Namespace(name, before) => {
                let after = self.cluster.namespace_labels(&name);
                let pods: Vec<_> = self.cluster.pods.within(&name, "").map(|(_, pod)| pod).collect();
                let sets = self.sets.namespace_changed(&name, before.as_ref(), after, &pods);
                for id in sets {
                    self.queue_set(id, now);
                }
            }
            ObjectChange::Reports(node, uids) => {
                let names: Vec<ObjectName> =
                    uids.iter().filter_map(|uid| self.policies.by_uid(uid)).collect();
                for name in &names {
                    self.queue_status(name, now);
                }
                self.notice_node(&node);
            }
            ObjectChange::Node(node) => {
                let info = self.cluster.nodes.get(&ObjectName::new("", &node));
                let addresses = self.addresses.node_changed(&node, info);
                self.addresses_changed(ClusterSet::Nodes, &addresses, now);
                self.node_changed(&node, now);
            }
            ObjectChange::WholeReport(node) => self.node_changed(&node, now),
            ObjectChange::NetworkPolicies(namespace) => self.network_policies_changed(&namespace, now),
            ObjectChange::PeerSet(name) => self.stored_changed(&name, now),
        }
    }

    fn policy_changed(&mut self, name: &ObjectName, now: Instant) {
        let sets = self.policies.refresh(name, &mut self.sets, &mut self.cluster);
        for id in sets.changed {
            self.queue_set(id, now);
        }
        for name in &sets.statuses {
            self.queue_status(name, now);
        }
        if self.leads {
            self.notices.policy(name, self.cluster.policies.get(name), now);
        }
        // Whether the policies of the namespace, and those of the cluster, matter.
        self.network_policies_changed(&name.namespace, now);
        self.network_policies_changed("", now);
    }

    fn network_policies_changed(&mut self, namespace: &str, now: Instant) {
        let (sets, cluster) = (&mut self.sets, &mut self.cluster);
        let changed = self
            .network_policies
            .refresh(namespace, sets, cluster, &self.addresses);
        for id in changed {
            self.queue_set(id, now);
        }
    }

    /// Follows addresses of the cluster. `set` is the one whose addresses move.
    fn addresses_changed(&mut self, set: ClusterSet, change: &AddressChange, now: Instant) {
        let (before, after) = &change.moved;
        let moved = self.sets.replace_addresses(set, before, after);
        let networks = change.networks.then(|| self.addresses.networks());
        let ranges = networks.and_then(|networks| self.sets.replace_networks(networks));
        for id in [moved, ranges].into_iter().flatten() {
            self.queue_set(id, now);
        }
    }

    fn node_changed(&mut self, node: &str, now: Instant) {
        let names = self.policies.with_targets_on(node);
        for name in &names {
            self.queue_status(name, now);
        }
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

    /// Returns when something is due even if nothing changes.
    pub fn due(&self) -> Option<Instant> {
        if !self.leads || !self.follows {
            return None;
        }
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

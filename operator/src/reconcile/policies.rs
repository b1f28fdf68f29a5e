//! What the operator keeps for each policy: its targets by node, the address sets that it uses, and whether
//! its namespace may use them.

mod admission;

use std::collections::{BTreeMap, BTreeSet};

use admission::{created, was_accepted};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_client::object::ObjectName;
use xdp_crds::{
    XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED},
    policy::{Policy, SetId},
};

use crate::{
    api::StatusWrite,
    peers::PeerSets,
    status,
    store::{ClusterState, CompiledSelector, PodFacts, PolicyObject, Refusal},
};

/// How many address sets the policies of one namespace may use, and how many addresses these may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Distinct selections.
    pub sets: usize,
    /// Addresses, when a policy is accepted. Later, pods may add some.
    pub addresses: usize,
}

/// All policies by name.
#[derive(Debug)]
pub(super) struct Policies {
    limits: PeerLimits,
    records: BTreeMap<ObjectName, Record>,
    names: BTreeMap<String, ObjectName>,
}

#[derive(Debug, Default)]
struct Record {
    uid: String,
    generation: i64,
    /// The selector of the target pods, of a valid policy.
    selector: Option<CompiledSelector>,
    /// The number of target pods by node.
    targets: BTreeMap<Box<str>, u32>,
    /// The sets of the last version that was accepted.
    sets: BTreeSet<SetId>,
    /// The number of sets that this version needs, up to one more than the limit.
    needed: usize,
    /// Why the namespace may not use the sets of this version.
    over_limit: Option<Refusal>,
    /// The status of the conditions Accepted and Programmed.
    conditions: (bool, bool),
}

/// What a change of a policy changes.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Sets to look at.
    pub(super) changed: BTreeSet<SetId>,
    /// Policies whose status may change.
    pub(super) statuses: BTreeSet<ObjectName>,
}

impl Policies {
    pub(super) const fn new(limits: PeerLimits) -> Self {
        Self {
            limits,
            records: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// Starts from complete lists. Policies that were accepted before come first, so that they stay.
    pub(super) fn build(&mut self, sets: &mut PeerSets, cluster: &mut ClusterState) {
        let mut names: Vec<_> = cluster
            .policies
            .iter()
            .map(|(name, policy)| (!was_accepted(policy), created(policy), name.clone()))
            .collect();
        names.sort();
        for (_, _, name) in names {
            self.refresh(&name, sets, cluster);
        }
    }

    /// Follows a policy.
    pub(super) fn refresh(
        &mut self,
        name: &ObjectName,
        sets: &mut PeerSets,
        cluster: &mut ClusterState,
    ) -> Effects {
        let mut effects = Effects::default();
        effects.statuses.insert(name.clone());
        // Agents enforce a policy with a finalizer until it is gone, and need its sets as long.
        let policy = cluster.policies.get(name).cloned();
        let uid = policy.as_ref().map(|policy| policy.uid.as_str());
        if self
            .records
            .get(name)
            .is_some_and(|record| uid != Some(record.uid.as_str()))
        {
            self.remove(name, sets, &mut effects);
        }
        if let Some(policy) = policy {
            let record = self.records.get(name);
            let known = record.filter(|record| record.generation == policy.generation);
            if let Some(known) = known {
                if known.over_limit.is_some() && was_accepted(&policy) {
                    self.follow_leader(name, &policy, (sets, cluster), &mut effects);
                }
                return effects;
            }
            self.update(name, &policy, cluster);
            self.admit(name, &policy, (sets, cluster), &mut effects);
        }
        if !effects.changed.is_empty() {
            self.admit_refused(&name.namespace, (sets, cluster), &mut effects);
        }
        effects
    }

    fn remove(&mut self, name: &ObjectName, sets: &mut PeerSets, effects: &mut Effects) {
        let Some(record) = self.records.remove(name) else {
            return;
        };
        self.names.remove(&record.uid);
        for id in record.sets {
            sets.release(&id, &name.namespace);
            effects.changed.insert(id);
        }
    }

    /// Takes over the targets of a new version.
    fn update(&mut self, name: &ObjectName, policy: &PolicyObject, cluster: &mut ClusterState) {
        self.names.insert(policy.uid.clone(), name.clone());
        let record = self.records.entry(name.clone()).or_default();
        record.uid.clone_from(&policy.uid);
        record.generation = policy.generation;
        record.targets.clear();
        let content = policy.content.as_ref().ok();
        record.selector = content.map(|content| cluster.labels.selector(&content.selector));
        for (_, pod) in cluster.pods.within(&name.namespace, "") {
            record.count(pod, true);
        }
    }

    /// Follows a pod of a namespace. Returns the policies that select it, before or after.
    pub(super) fn pod_changed(
        &mut self,
        namespace: &str,
        before: Option<&PodFacts>,
        after: Option<&PodFacts>,
    ) -> Vec<ObjectName> {
        let from = ObjectName::new(namespace, "");
        let records = self.records.range_mut(from..);
        let records = records.take_while(|(name, _)| name.namespace == namespace);
        let changed = records.filter_map(|(name, record)| {
            let was = before.is_some_and(|pod| record.count(pod, false));
            let is = after.is_some_and(|pod| record.count(pod, true));
            let node = |pod: Option<&PodFacts>| pod.map(|pod| pod.node.clone());
            let same = was == is && (!is || node(before) == node(after));
            (!same).then(|| name.clone())
        });
        changed.collect()
    }

    /// Returns the policies with target pods on a node.
    pub(super) fn with_targets_on(&self, node: &str) -> Vec<ObjectName> {
        let records = self.records.iter();
        let there = records.filter(|(_, record)| record.targets.contains_key(node));
        there.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<ObjectName> {
        self.names.get(uid).cloned()
    }

    /// Returns the status to write; `None` if the stored one is up to date.
    pub(super) fn status(
        &mut self,
        name: &ObjectName,
        cluster: &ClusterState,
        time: &Time,
    ) -> Option<StatusWrite> {
        let policy = cluster.policies.get(name).filter(|policy| !policy.deleting)?;
        let record = self.records.get_mut(name)?;
        let status = match (&policy.content, &record.over_limit) {
            (Ok(content), None) => {
                let targets = record.targets_on(content, cluster);
                status::status(policy, &targets, |node| cluster.report(node), time)
            }
            (Ok(_), Some(refusal)) => {
                let mut refused = policy.clone();
                refused.content = Err(refusal.clone());
                status::status(&refused, &BTreeMap::new(), |node| cluster.report(node), time)
            }
            (Err(_), _) => status::status(policy, &BTreeMap::new(), |node| cluster.report(node), time),
        };
        record.conditions = (is_true(&status, ACCEPTED), is_true(&status, PROGRAMMED));
        if status::is_written(policy.status.as_ref(), &status) {
            return None;
        }
        Some(StatusWrite {
            name: name.clone(),
            uid: policy.uid.clone(),
            status,
        })
    }

    /// Counts policies by the status of their conditions Accepted and Programmed.
    pub(super) fn counts(&self) -> BTreeMap<(bool, bool), i64> {
        let mut counts = BTreeMap::new();
        for record in self.records.values() {
            *counts.entry(record.conditions).or_default() += 1;
        }
        counts
    }

    fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectName, &'a Record)> {
        let records = self.records.range(ObjectName::new(namespace, "")..);
        records.take_while(move |(name, _)| name.namespace == namespace)
    }
}

impl Record {
    /// Counts a pod if it is a target. Returns whether it is one.
    fn count(&mut self, pod: &PodFacts, add: bool) -> bool {
        let is_target = self
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&pod.labels));
        if !is_target {
            return false;
        }
        let count = self.targets.entry(pod.node.clone()).or_default();
        *count = if add { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.targets.remove(&pod.node);
        }
        true
    }

    /// Returns the targets on the nodes that the policy selects.
    fn targets_on<'a>(&'a self, policy: &Policy, cluster: &ClusterState) -> BTreeMap<&'a str, u32> {
        let nodes = self.targets.iter().filter(|(node, _)| {
            let node = cluster.nodes.get(&ObjectName::new("", &***node));
            node.is_some_and(|node| policy.node_selector.matches(&node.labels))
        });
        nodes.map(|(node, count)| (&**node, *count)).collect()
    }
}

fn is_true(status: &XdpPolicyStatus, kind: &str) -> bool {
    status::find(&status.conditions, kind).is_some_and(|condition| condition.status == "True")
}

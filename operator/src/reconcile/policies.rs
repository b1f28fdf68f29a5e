//! What the operator keeps for each policy: its targets by node, the address sets that it uses, and whether
//! its namespace may use them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_client::object::ObjectName;
use xdp_crds::{
    XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED, accepted},
    policy::{PodSelection, Policy, Rule, SetId},
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
        let policy = cluster
            .policies
            .get(name)
            .filter(|policy| !policy.deleting)
            .cloned();
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
            if record.is_some_and(|record| record.generation == policy.generation) {
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

    /// Decides whether the namespace may use the sets of a policy. If not, the policy keeps those of its last
    /// accepted version.
    fn admit(
        &mut self,
        name: &ObjectName,
        policy: &PolicyObject,
        (sets, cluster): (&mut PeerSets, &mut ClusterState),
        effects: &mut Effects,
    ) {
        let Ok(content) = &policy.content else {
            return;
        };
        let is_accepted = was_accepted(policy);
        let most = if is_accepted { usize::MAX } else { self.limits.sets };
        let wanted = selections(content, most);
        let mut used: BTreeSet<SetId> = wanted.keys().cloned().collect();
        let others = self
            .of_namespace(&name.namespace)
            .filter(|(other, _)| *other != name);
        used.extend(others.flat_map(|(_, record)| record.sets.iter().cloned()));
        let held = self
            .records
            .get(name)
            .map(|record| record.sets.clone())
            .unwrap_or_default();
        let mut refusal = (used.len() > most).then(|| self.too_many_sets(name));
        if refusal.is_none() {
            let new = || wanted.iter().filter(|(id, _)| !held.contains(*id));
            new().for_each(|(id, selection)| sets.acquire(selection, id, &name.namespace, cluster));
            let addresses = used.iter().map(|id| sets.len_of(id)).sum();
            if addresses > self.limits.addresses && new().next().is_some() && !is_accepted {
                refusal = Some(self.too_many_addresses(name, addresses));
                new().for_each(|(id, _)| sets.release(id, &name.namespace));
            } else {
                effects.changed.extend(new().map(|(id, _)| id.clone()));
                for id in held.iter().filter(|id| !wanted.contains_key(*id)) {
                    sets.release(id, &name.namespace);
                    effects.changed.insert(id.clone());
                }
            }
        }
        let record = self.records.entry(name.clone()).or_default();
        record.needed = wanted.len();
        if refusal.is_none() {
            record.sets = wanted.into_keys().collect();
        }
        if record.over_limit != refusal {
            effects.statuses.insert(name.clone());
        }
        record.over_limit = refusal;
    }

    /// Tries refused policies of a namespace again, the oldest first: another policy may have made room.
    fn admit_refused(
        &mut self,
        namespace: &str,
        (sets, cluster): (&mut PeerSets, &mut ClusterState),
        effects: &mut Effects,
    ) {
        let limit = self.limits.sets;
        let refused = self.of_namespace(namespace);
        let refused = refused.filter(|(_, record)| record.over_limit.is_some() && record.needed <= limit);
        let mut refused: Vec<_> = refused
            .filter_map(|(name, _)| Some((created(cluster.policies.get(name)?), name.clone())))
            .collect();
        refused.sort();
        for (_, name) in refused {
            if let Some(policy) = cluster.policies.get(&name).cloned() {
                self.admit(&name, &policy, (sets, cluster), effects);
            }
        }
    }

    fn too_many_sets(&self, name: &ObjectName) -> Refusal {
        let limit = self.limits.sets;
        limit_exceeded(format!(
            "the policies of namespace {} select pods in `from` by more than {limit} distinct selectors",
            name.namespace
        ))
    }

    fn too_many_addresses(&self, name: &ObjectName, addresses: usize) -> Refusal {
        let limit = self.limits.addresses;
        limit_exceeded(format!(
            "the pods that policies of namespace {} select in `from` have {addresses} addresses, and may have {limit}",
            name.namespace
        ))
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

/// Returns the distinct selections of a policy, up to one more than `most`.
fn selections(policy: &Policy, most: usize) -> BTreeMap<SetId, PodSelection> {
    let mut found = BTreeMap::new();
    for source in policy.rules.iter().flat_map(Rule::pod_sources) {
        let selection = source.selection(&policy.namespace);
        found.insert(selection.id(), selection);
        if found.len() > most {
            break;
        }
    }
    found
}

fn created(policy: &PolicyObject) -> Option<Time> {
    policy
        .content
        .as_ref()
        .ok()
        .and_then(|content| content.created.clone())
}

/// Returns whether the stored status says that this version is accepted.
fn was_accepted(policy: &PolicyObject) -> bool {
    let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
    let accepted = status::find(conditions.unwrap_or_default(), ACCEPTED);
    accepted.is_some_and(|accepted| {
        accepted.status == "True" && accepted.observed_generation == Some(policy.generation)
    })
}

fn is_true(status: &XdpPolicyStatus, kind: &str) -> bool {
    status::find(&status.conditions, kind).is_some_and(|condition| condition.status == "True")
}

fn limit_exceeded(what: String) -> Refusal {
    Refusal {
        reason: accepted::LIMIT_EXCEEDED,
        message: format!(
            "{what}; the last accepted version stays programmed; use fewer or narrower selectors, or ask the \
             administrator to raise the limit"
        ),
    }
}

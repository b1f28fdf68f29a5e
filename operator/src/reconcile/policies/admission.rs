//! Decides whether the policies of a namespace may use the address sets that they need.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xdp_client::object::ObjectName;
use xdp_crds::{
    conditions::{ACCEPTED, accepted},
    policy::{PodSelection, Policy, Rule, SetId},
};

use super::{Effects, Policies};
use crate::{
    peers::PeerSets,
    status,
    store::{ClusterState, PolicyObject, Refusal},
};

impl Policies {
    /// Decides whether the namespace may use the sets of a policy. If not, the policy keeps those of its last
    /// accepted version.
    pub(super) fn admit(
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
            let mut addresses: usize = used.iter().map(|id| sets.len_of(id)).sum();
            let mut acquired = Vec::new();
            for (id, selection) in wanted.iter().filter(|(id, _)| !held.contains(*id)) {
                let known = sets.len_of(id);
                sets.acquire(selection, id, &name.namespace, cluster);
                acquired.push(id);
                addresses += sets.len_of(id) - known;
                // Not all at once: the sets of a policy that is refused must not fill the memory.
                if addresses > self.limits.addresses && !is_accepted {
                    refusal = Some(self.too_many_addresses(name));
                    break;
                }
            }
            if refusal.is_some() {
                for id in acquired {
                    sets.release(id, &name.namespace);
                }
            } else {
                effects.changed.extend(acquired.into_iter().cloned());
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

    /// Accepts a policy that the leader has accepted. It saw policies in another order: those that it has not
    /// accepted give up their sets, and are decided again.
    pub(super) fn follow_leader(
        &mut self,
        name: &ObjectName,
        policy: &PolicyObject,
        (sets, cluster): (&mut PeerSets, &mut ClusterState),
        effects: &mut Effects,
    ) {
        let others = self.of_namespace(&name.namespace);
        let others = others.filter(|(other, record)| *other != name && record.over_limit.is_none());
        let mut undecided: Vec<_> = others
            .filter_map(|(other, _)| Some((cluster.policies.get(other)?, other.clone())))
            .filter(|(policy, _)| policy.content.is_ok() && !was_accepted(policy))
            .map(|(policy, other)| (created(policy), other))
            .collect();
        undecided.sort();
        for (_, other) in &undecided {
            let record = self.records.get_mut(other);
            for id in record
                .map(|record| std::mem::take(&mut record.sets))
                .unwrap_or_default()
            {
                sets.release(&id, &other.namespace);
                effects.changed.insert(id);
            }
        }
        self.admit(name, policy, (sets, cluster), effects);
        for (_, other) in undecided {
            if let Some(policy) = cluster.policies.get(&other).cloned() {
                self.admit(&other, &policy, (sets, cluster), effects);
            }
        }
    }

    /// Tries refused policies of a namespace again, the oldest first: another policy may have made room.
    pub(super) fn admit_refused(
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
        limit_exceeded(&format!(
            "the policies of namespace {} select pods in `from` by more than {limit} distinct selectors",
            name.namespace
        ))
    }

    fn too_many_addresses(&self, name: &ObjectName) -> Refusal {
        let limit = self.limits.addresses;
        limit_exceeded(&format!(
            "the pods that policies of namespace {} select in `from` have more than {limit} addresses",
            name.namespace
        ))
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

pub(super) fn created(policy: &PolicyObject) -> Option<Time> {
    policy
        .content
        .as_ref()
        .ok()
        .and_then(|content| content.created.clone())
}

/// Returns whether the stored status says that this version is accepted.
pub(super) fn was_accepted(policy: &PolicyObject) -> bool {
    let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
    let accepted = status::find(conditions.unwrap_or_default(), ACCEPTED);
    accepted.is_some_and(|accepted| {
        accepted.status == "True" && accepted.observed_generation == Some(policy.generation)
    })
}

fn limit_exceeded(what: &str) -> Refusal {
    Refusal {
        reason: accepted::LIMIT_EXCEEDED,
        message: format!(
            "{what}; no addresses are resolved for this version; use fewer or narrower selectors, or ask the \
             administrator to raise the limit"
        ),
    }
}

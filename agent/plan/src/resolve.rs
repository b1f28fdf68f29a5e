//! Resolves policies for this node: applies `nodeSelector`, and replaces pod selectors in `from` by the pods'
//! addresses.
//!
//! ```text
//! newest version ─┬─ refused ───────────────────────┐
//!                 ├─ slices of a source are missing ┴─▶ the last complete version stays, if there is one
//!                 ├─ complete ─▶ programmed, and stored as the last complete version
//!                 └─ not for this node, or deleted ─▶ the last complete version is dropped
//! ```

mod slices;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use slices::PeerSlice;
use slices::Slices;
pub(crate) use slices::complete_set;
pub use written::WrittenPolicy;
use xdp_crds::{
    conditions::node,
    policy::{PodSource, SetId},
};

use crate::{
    pod::Pod,
    policy::{Policy, Selector},
    report::Problem,
};

/// The newest version of a policy, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid. It changes when a policy is deleted and created again.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The policy, or the reason why it is refused.
    pub content: Result<WrittenPolicy, Problem>,
}

/// A policy that applies to this node. Its newest version may be refused or incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePolicy {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Generation of the newest version.
    pub generation: i64,
    /// The version that selects pods: the newest one, or the last complete one while the newest is refused.
    /// `None`: the newest version is refused, and no version was complete.
    pub policy: Option<Arc<Policy>>,
    /// Why the newest version cannot be programmed. The reason is one of [`node`].
    pub obstacle: Option<Problem>,
}

/// The result of resolving all policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedPolicies {
    /// Policies to program. Their sources are blocks only.
    pub policies: Vec<Policy>,
    /// All policies that apply to this node.
    pub node_policies: Vec<NodePolicy>,
}

/// What decides whether a policy concerns this node.
#[derive(Clone, Debug)]
pub struct LocalNode<'a> {
    labels: &'a BTreeMap<String, String>,
    /// Labels of the pods that a policy can select, by namespace.
    pods: BTreeMap<&'a str, Vec<&'a BTreeMap<String, String>>>,
}

impl<'a> LocalNode<'a> {
    /// Creates a node from its labels and its pods. Those without an address count, too: they get one.
    pub fn new(labels: &'a BTreeMap<String, String>, pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let mut index = BTreeMap::<&str, Vec<_>>::new();
        for pod in pods.into_iter().filter(|pod| pod.owns_addresses()) {
            index.entry(&pod.namespace).or_default().push(&pod.labels);
        }
        Self { labels, pods: index }
    }

    /// Returns whether the policy is for this node, and selects a pod of it.
    fn concerns(&self, policy: &Policy) -> bool {
        let pods = self.pods.get(policy.namespace.as_str());
        policy.node_selector.matches(self.labels)
            && pods.is_some_and(|pods| pods.iter().any(|labels| policy.selector.matches(labels)))
    }
}

/// Resolves policies, and stores the last complete version of each.
#[derive(Debug, Default)]
pub struct SourceResolver {
    last: BTreeMap<(String, String), Complete>,
}

/// A version that had the addresses of all its sources.
#[derive(Clone, Debug)]
struct Complete {
    written: WrittenPolicy,
    /// The version with addresses. `None`: it selects no pod of this node, and its addresses are not read.
    resolved: Option<Policy>,
}

impl SourceResolver {
    /// Resolves every policy.
    pub fn resolve<'a>(
        &mut self,
        versions: impl IntoIterator<Item = &'a PolicyVersion>,
        slices: impl IntoIterator<Item = &'a PeerSlice>,
        node: &LocalNode<'_>,
    ) -> ResolvedPolicies {
        let slices = slices::by_set(slices);
        let mut before = std::mem::take(&mut self.last);
        let mut resolved = ResolvedPolicies::default();
        for version in versions {
            let key = (version.namespace.clone(), version.name.clone());
            let last = before.remove(&key);
            let last = last.filter(|last| last.written.policy.uid == version.uid);
            let (node_policy, complete) = step(version, last, &slices, node);
            resolved.node_policies.extend(node_policy);
            if let Some(complete) = complete {
                resolved.policies.extend(complete.resolved.clone());
                self.last.insert(key, complete);
            }
        }
        resolved
    }

    /// Returns the sets that the pods of this node need: those of the newest versions, and of the versions
    /// that were complete when [`Self::resolve`] was last called.
    pub fn needed<'a>(
        &self,
        versions: impl IntoIterator<Item = &'a PolicyVersion>,
        node: &LocalNode<'_>,
    ) -> BTreeSet<SetId> {
        let newest = versions
            .into_iter()
            .filter_map(|version| version.content.as_ref().ok());
        let complete = self.last.values().map(|last| &last.written);
        newest
            .chain(complete)
            .filter(|written| !written.sets.is_empty() && node.concerns(&written.policy))
            .flat_map(|written| written.sets.iter().cloned())
            .collect()
    }
}

/// Resolves one policy: returns its state on this node, and the complete version to program.
fn step(
    version: &PolicyVersion,
    last: Option<Complete>,
    slices: &Slices<'_>,
    node: &LocalNode<'_>,
) -> (Option<NodePolicy>, Option<Complete>) {
    let node_policy = |policy: Option<&Policy>, obstacle| NodePolicy {
        namespace: version.namespace.clone(),
        name: version.name.clone(),
        uid: version.uid.clone(),
        generation: version.generation,
        policy: policy.cloned().map(Arc::new),
        obstacle,
    };
    let newest = match &version.content {
        Ok(newest) => newest,
        Err(refused) => {
            let last = last.filter(|last| last.written.policy.node_selector.matches(node.labels));
            let selects = last.as_ref().map(|last| last.written.policy.clone());
            let last = last.map(|last| refresh(last, slices, node));
            let obstacle = invalid_spec(refused);
            return (Some(node_policy(selects.as_ref(), Some(obstacle))), last);
        }
    };
    let policy = &newest.policy;
    if !policy.node_selector.matches(node.labels) {
        return (None, None);
    }
    match slices::resolve(newest, slices) {
        Ok(resolved) => {
            let written = newest.clone();
            (
                Some(node_policy(Some(policy), None)),
                Some(Complete {
                    written,
                    resolved: Some(resolved),
                }),
            )
        }
        Err(missing) => {
            let last = last.map(|last| refresh(last, slices, node));
            let previous = last.as_ref().and_then(|last| last.resolved.as_ref());
            // The sets of a policy that selects no pod of this node are not read.
            let obstacle = node
                .concerns(policy)
                .then(|| pending(policy, &missing, previous.is_some()));
            (Some(node_policy(Some(policy), obstacle)), last)
        }
    }
}

/// Updates the addresses of the last complete version. While slices are missing, the addresses stay, unless
/// the version selects no pod of this node: then they are not kept up to date, and a later pod must not get
/// them.
fn refresh(last: Complete, slices: &Slices<'_>, node: &LocalNode<'_>) -> Complete {
    let resolved = match slices::resolve(&last.written, slices) {
        Ok(resolved) => Some(resolved),
        Err(_) if node.concerns(&last.written.policy) => last.resolved,
        Err(_) => None,
    };
    Complete { resolved, ..last }
}

fn invalid_spec(refused: &Problem) -> Problem {
    Problem {
        reason: node::INVALID_SPEC.to_owned(),
        message: format!("{}: {}", refused.reason, refused.message),
        ..refused.clone()
    }
}

fn pending(policy: &Policy, missing: &[&PodSource], has_previous: bool) -> Problem {
    let meanwhile = if has_previous {
        "the previous version stays programmed"
    } else {
        "no version of the policy is programmed"
    };
    let selection = |source: &&PodSource| source.selection(&policy.namespace).to_string();
    let selections: Vec<String> = missing.iter().map(selection).collect();
    Problem::new(
        policy.to_string(),
        node::PEERS_PENDING,
        format!(
            "the addresses of {} are not resolved yet; {meanwhile}",
            selections.join(", ")
        ),
        "wait for the operator; if the problem persists, check that xdp-operator runs and may read pods and namespaces",
    )
}

/// Drops policies that need a cluster, each with a problem. Without a cluster, a node has no labels, and no
/// operator resolves pod selectors.
pub fn without_cluster(policies: Vec<Arc<Policy>>) -> (Vec<Arc<Policy>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let kept = policies.into_iter().filter(|policy| {
        let problem = if policy.node_selector != Selector::default() {
            Problem::new(
                policy.to_string(),
                "NodeSelectorWithoutNode",
                "the policy has a `nodeSelector`, but without a cluster the node has no labels; the policy is not programmed",
                "remove `nodeSelector`, and copy the file only to the selected nodes",
            )
        } else if policy.rules.iter().any(|rule| rule.pod_sources().next().is_some()) {
            Problem::new(
                policy.to_string(),
                node::PEERS_PENDING,
                "a rule's `from` selects pods, but only the operator resolves pod selectors; the policy is not programmed",
                "write the addresses as `ipBlock`, or run the agent in a cluster with the operator",
            )
        } else {
            return true;
        };
        problems.push(problem);
        false
    });
    (kept.collect(), problems)
}

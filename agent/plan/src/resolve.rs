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

use std::{collections::BTreeMap, sync::Arc};

pub use slices::PeerSlice;
use xdp_crds::{PeerSelector, conditions::node};

use crate::{
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
    pub content: Result<Policy, Problem>,
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

/// Resolves policies, and stores the last complete version of each.
#[derive(Debug, Default)]
pub struct SourceResolver {
    last: BTreeMap<(String, String), Complete>,
}

/// A version with the addresses of all its sources.
#[derive(Clone, Debug)]
struct Complete {
    written: Policy,
    resolved: Policy,
}

impl SourceResolver {
    /// Resolves every policy. `labels` are the labels of the node.
    pub fn resolve<'a>(
        &mut self,
        versions: impl IntoIterator<Item = &'a PolicyVersion>,
        slices: &[PeerSlice],
        labels: &BTreeMap<String, String>,
    ) -> ResolvedPolicies {
        let slices = slices::by_policy(slices);
        let mut before = std::mem::take(&mut self.last);
        let mut resolved = ResolvedPolicies::default();
        for version in versions {
            let key = (version.namespace.clone(), version.name.clone());
            let slices = slices.get(&key).map_or(&[][..], Vec::as_slice);
            let last = before.remove(&key);
            let last = last.filter(|last| last.written.uid == version.uid);
            let (node_policy, complete) = step(version, last, slices, labels);
            resolved.node_policies.extend(node_policy);
            if let Some(complete) = complete {
                resolved.policies.push(complete.resolved.clone());
                self.last.insert(key, complete);
            }
        }
        resolved
    }
}

/// Resolves one policy: returns its state on this node, and the complete version to program.
fn step(
    version: &PolicyVersion,
    last: Option<Complete>,
    slices: &[&PeerSlice],
    labels: &BTreeMap<String, String>,
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
            let last = last.filter(|last| last.written.node_selector.matches(labels));
            let last = last.map(|last| refresh(last, slices));
            let selects = last.as_ref().map(|last| &last.written);
            return (Some(node_policy(selects, Some(invalid_spec(refused)))), last);
        }
    };
    if !newest.node_selector.matches(labels) {
        return (None, None);
    }
    match slices::resolve(newest, slices) {
        Ok(resolved) => {
            let written = newest.clone();
            (
                Some(node_policy(Some(newest), None)),
                Some(Complete { written, resolved }),
            )
        }
        Err(missing) => {
            let last = last.map(|last| refresh(last, slices));
            let obstacle = pending(newest, &missing, last.is_some());
            (Some(node_policy(Some(newest), Some(obstacle))), last)
        }
    }
}

/// Updates the addresses of the last complete version, unless slices are missing.
fn refresh(last: Complete, slices: &[&PeerSlice]) -> Complete {
    match slices::resolve(&last.written, slices) {
        Ok(resolved) => Complete { resolved, ..last },
        Err(_) => last,
    }
}

fn invalid_spec(refused: &Problem) -> Problem {
    Problem {
        reason: node::INVALID_SPEC.to_owned(),
        message: format!("{}: {}", refused.reason, refused.message),
        ..refused.clone()
    }
}

fn pending(policy: &Policy, missing: &[PeerSelector], has_previous: bool) -> Problem {
    let meanwhile = if has_previous {
        "the previous version stays programmed"
    } else {
        "no version of the policy is programmed"
    };
    let selectors: Vec<String> = missing.iter().map(slices::as_json).collect();
    Problem::new(
        policy.to_string(),
        node::PEERS_PENDING,
        format!(
            "the addresses of {} are not resolved yet; {meanwhile}",
            selectors.join(", ")
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

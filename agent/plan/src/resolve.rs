//! Policies as they apply on this node: only where `nodeSelector` says so, with addresses in place of selector peers.
//!
//! ```text
//! newest version ─┬─ refused ───────────────────┐
//!                 ├─ a peer's slices are missing ┼─▶ the last version that was complete stays, if there is one
//!                 ├─ complete ─▶ in force, and kept as the last complete one
//!                 └─ not for this node, or deleted ─▶ nothing, and the last complete one is forgotten
//! ```

mod slices;

use std::{collections::BTreeMap, sync::Arc};

pub use slices::PeerSlice;
use xdp_crds::{PeerSelector, conditions::node};

use crate::{
    policy::{Policy, Selector},
    report::Problem,
};

/// A policy as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid: a policy that was deleted and made again is another.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it says, or why it is refused.
    pub content: Result<Policy, Problem>,
}

/// A policy that applies on this node, whether or not its newest version does.
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
    /// What selects pods: the newest version, or the last complete one while the newest is refused. `None`: refused, and
    /// there is no other.
    pub policy: Option<Arc<Policy>>,
    /// Why the newest version is not in force; the reason is one of [`node`].
    pub obstacle: Option<Problem>,
}

/// What becomes of all policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedPolicies {
    /// To be put in force; no peer of theirs is a selector.
    pub policies: Vec<Policy>,
    /// Policies that apply here.
    pub node_policies: Vec<NodePolicy>,
}

/// Remembers the last complete version of every policy.
#[derive(Debug, Default)]
pub struct SourceResolver {
    last: BTreeMap<(String, String), Complete>,
}

/// A version whose peers all have addresses.
#[derive(Clone, Debug)]
struct Complete {
    written: Policy,
    resolved: Policy,
}

impl SourceResolver {
    /// Brings every policy up to date. `labels` are the node's.
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

/// One policy: what to say of it, and what is in force of it.
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
    match slices::put_in(newest, slices) {
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

/// The last complete version follows its peers as long as their slices are there.
fn refresh(last: Complete, slices: &[&PeerSlice]) -> Complete {
    match slices::put_in(&last.written, slices) {
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

fn pending(policy: &Policy, missing: &[PeerSelector], other: bool) -> Problem {
    let meanwhile = if other {
        "the version before stays in force"
    } else {
        "nothing of the policy is in force"
    };
    let selectors: Vec<String> = missing.iter().map(slices::as_json).collect();
    Problem::new(
        policy.to_string(),
        node::PEERS_PENDING,
        format!(
            "the addresses of {} are not known yet; {meanwhile}",
            selectors.join(", ")
        ),
        "wait for the operator; if it stays, check that xdp-operator runs and may read pods and namespaces",
    )
}

/// Policies from files, where there is no node to select and nobody who resolves peers: those that need either are left
/// out, each with a problem.
pub fn without_cluster(policies: Vec<Arc<Policy>>) -> (Vec<Arc<Policy>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let kept = policies.into_iter().filter(|policy| {
        let problem = if policy.node_selector != Selector::default() {
            Problem::new(
                policy.to_string(),
                "NodeSelectorWithoutNode",
                "the policy has a `nodeSelector`, and policies from files know no node labels; it is left out",
                "remove `nodeSelector`, and give the file only to the nodes meant",
            )
        } else if policy.rules.iter().any(|rule| rule.pod_sources().next().is_some()) {
            Problem::new(
                policy.to_string(),
                node::PEERS_PENDING,
                "a rule's `from` selects pods, and only the operator finds their addresses; the policy is left out",
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

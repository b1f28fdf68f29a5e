//! Computes the node's status, [`XdpNodeStateStatus`], from the decisions of one reconcile and the tables
//! read back after it.

mod network_policy;
mod pods;
mod policies;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pods::Pods;
use xdp_crds::{NicState, PolicyState, XdpNodeStateStatus};

use crate::{
    desired::Desired,
    diff::Differ,
    fair::in_turns,
    installed::Installed,
    pod::Pod,
    policy::Policy,
    report::Problem,
    resolve::NodePolicy,
    targets::{PodCertainty, Targets},
};

/// Most pods, and most problems, that a status lists: of each namespace as many as of the others.
pub const MAX_LISTED: usize = 100;
/// Most policies that a status lists, likewise: the API server refuses objects of more than 1.5 MB.
pub const MAX_POLICIES: usize = 1000;
/// Longest message, in characters.
const MAX_MESSAGE: usize = 500;
/// Policies of a namespace whose messages may have that length. Those of others are cut.
const WITH_MESSAGE: usize = 50;
/// Longest message of the others.
const MAX_CUT: usize = 120;
/// Object of problems with the connection to the API server. The status omits them: while they exist, it
/// cannot be written.
pub const API_SERVER: &str = "API server";
/// Object of problems with changing or reading the kernel's tables.
pub const TABLES: &str = "tables";

/// The decisions of one reconcile, and the state of the node after it.
#[derive(Clone, Debug)]
pub struct Reconciled<'a> {
    /// Policies that apply to this node.
    pub node_policies: &'a [NodePolicy],
    /// Pods of this node.
    pub pods: &'a [Arc<Pod>],
    /// What `NetworkPolicies` and the like certainly allow to pods with rules that redirect.
    pub certainty: &'a PodCertainty,
    /// The tables, desired and installed. `Err`: they could not be computed or read.
    pub tables: Result<TableState<'a>, Problem>,
    /// NICs that are selected or have the program attached, as read from the kernel.
    pub nics: &'a [NicState],
    /// Names of the selected NICs. `None`: the NICs could not be read.
    pub selected: Option<&'a BTreeSet<String>>,
    /// All current problems.
    pub problems: &'a BTreeSet<Problem>,
}

/// The desired and the installed tables.
#[derive(Clone, Copy, Debug)]
pub struct TableState<'a> {
    /// Target pods.
    pub targets: &'a Targets,
    /// The desired tables.
    pub desired: &'a Desired,
    /// The installed tables.
    pub installed: &'a Installed,
    /// The differ that compared them last.
    pub differ: &'a Differ,
}

/// Problems of policies over a limit, by the policy.
type Refused<'a> = BTreeMap<&'a str, &'a Problem>;

/// Computes the status, without the versions of agent and kernel.
pub fn node_state(reconciled: &Reconciled<'_>) -> XdpNodeStateStatus {
    let pods = Pods::new(reconciled);
    let refused = reconciled.tables.as_ref().map(|tables| &tables.desired.problems);
    let refused: Refused<'_> = refused
        .into_iter()
        .flatten()
        .map(|one| (one.object.as_str(), one))
        .collect();
    let policies: Vec<PolicyState> = reconciled
        .node_policies
        .iter()
        .filter_map(|node_policy| policies::state(reconciled, (&pods, &refused), node_policy))
        .collect();
    XdpNodeStateStatus {
        nics: reconciled.nics.to_vec(),
        problems: problems(reconciled, &policies),
        pods: pods.states(),
        policies: bounded(policies),
        ..XdpNodeStateStatus::default()
    }
}

/// Returns whether the policy selects the pod, and the pod runs and has addresses of its own.
pub fn selects(policy: &Policy, pod: &Pod) -> bool {
    pod.is_addressable() && policy.namespace == pod.namespace && policy.selector.matches(&pod.labels)
}

/// Sorts the policies, and leaves out what would make the object too large.
fn bounded(mut policies: Vec<PolicyState>) -> Vec<PolicyState> {
    policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut policies = in_turns(policies, MAX_POLICIES, |policy| policy.namespace.clone());
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for policy in policies.iter_mut().filter(|policy| !policy.message.is_empty()) {
        let count = written.entry(policy.namespace.clone()).or_default();
        *count += 1;
        if *count > WITH_MESSAGE {
            policy.message = cut(&policy.message, MAX_CUT);
        }
    }
    policies
}

/// Returns the problems that no other field of the status reports.
fn problems(reconciled: &Reconciled<'_>, policies: &[PolicyState]) -> Vec<Problem> {
    let listed: BTreeSet<String> = policies
        .iter()
        .map(|state| format!("XdpPolicy {}/{}", state.namespace, state.name))
        .collect();
    let elsewhere = |problem: &&Problem| {
        let object = problem.object.as_str();
        object.starts_with("Pod ")
            || object.starts_with("NIC ")
            || object.starts_with(API_SERVER)
            || listed.contains(object)
    };
    let others = reconciled.problems.iter().filter(|problem| !elsewhere(problem));
    in_turns(others, MAX_LISTED, |problem| problem.scope())
        .into_iter()
        .map(shortened)
        .collect()
}

fn shortened(problem: &Problem) -> Problem {
    Problem {
        message: short(&problem.message),
        ..problem.clone()
    }
}

fn short(message: &str) -> String {
    cut(message, MAX_MESSAGE)
}

fn cut(message: &str, longest: usize) -> String {
    match message.char_indices().nth(longest) {
        None => message.to_owned(),
        Some((end, _)) => format!("{}…", &message[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(namespace: &str, count: usize) -> impl Iterator<Item = PolicyState> {
        (0..count).map(move |number| PolicyState {
            namespace: namespace.to_owned(),
            name: format!("{number:05}{}", "p".repeat(248)),
            message: "m".repeat(MAX_MESSAGE),
            ..PolicyState::default()
        })
    }

    #[test]
    fn many_policies_of_a_namespace_leave_room_for_those_of_others_in_an_object_that_is_accepted() {
        let listed = bounded(policies("a", 5_000).chain(policies("z", 2)).collect());
        assert_eq!(listed.len(), MAX_POLICIES);
        let of_others: Vec<&PolicyState> = listed.iter().filter(|policy| policy.namespace == "z").collect();
        assert_eq!(of_others.len(), 2);
        assert!(of_others.iter().all(|policy| policy.message.len() == MAX_MESSAGE));
        let json = serde_json::to_vec(&listed).unwrap();
        assert!(json.len() < 1 << 20, "{} bytes", json.len());
    }
}

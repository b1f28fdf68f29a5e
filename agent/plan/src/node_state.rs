//! Computes the node's status, [`XdpNodeStateStatus`], from the decisions of one reconcile and the tables
//! read back after it.

mod pods;
mod policies;

use std::{collections::BTreeSet, sync::Arc};

use pods::Pods;
use xdp_crds::{NicState, PolicyState, XdpNodeStateStatus};

use crate::{
    desired::Desired, diff::Differ, installed::Installed, pod::Pod, policy::Policy, report::Problem,
    resolve::NodePolicy, targets::Targets,
};

/// Most pods, and most problems, that a status lists.
pub const MAX_LISTED: usize = 100;
/// Longest message, in characters.
const MAX_MESSAGE: usize = 500;
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

/// Computes the status, without the versions of agent and kernel.
pub fn node_state(reconciled: &Reconciled<'_>) -> XdpNodeStateStatus {
    let pods = Pods::new(reconciled);
    let policies: Vec<PolicyState> = reconciled
        .node_policies
        .iter()
        .filter_map(|node_policy| policies::state(reconciled, &pods, node_policy))
        .collect();
    XdpNodeStateStatus {
        nics: reconciled.nics.to_vec(),
        problems: problems(reconciled, &policies),
        pods: pods.states(),
        policies: sorted(policies),
        ..XdpNodeStateStatus::default()
    }
}

/// Returns whether the policy selects the pod, and the pod runs and has addresses of its own.
pub fn selects(policy: &Policy, pod: &Pod) -> bool {
    pod.is_addressable() && policy.namespace == pod.namespace && policy.selector.matches(&pod.labels)
}

fn sorted(mut policies: Vec<PolicyState>) -> Vec<PolicyState> {
    policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
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
    others.take(MAX_LISTED).map(shortened).collect()
}

fn shortened(problem: &Problem) -> Problem {
    Problem {
        message: short(&problem.message),
        ..problem.clone()
    }
}

fn short(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        None => message.to_owned(),
        Some((end, _)) => format!("{}…", &message[..end]),
    }
}

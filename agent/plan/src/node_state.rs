//! What the node says about itself: [`XdpNodeStateStatus`], from one reconciled's decisions and what was read back after it.

mod pods;
mod policies;

use std::{collections::BTreeSet, sync::Arc};

use pods::Pods;
use xdp_crds::{NicState, PolicyState, XdpNodeStateStatus};

use crate::{
    compile::Desired, diff::Differ, installed::Installed, pod::Pod, policy::Policy, report::Problem,
    resolve::NodePolicy, targets::Targets,
};

/// Longest lists of pods and of problems in a status.
pub const MAX_LISTED: usize = 100;
/// Longest message, in characters.
const MAX_MESSAGE: usize = 500;
/// What problems of the connection to the API server are about: they are no news to those who read the status there.
pub const API_SERVER: &str = "API server";
/// What problems of changing or reading the kernel's tables are about.
pub const TABLES: &str = "tables";

/// One reconciled.
#[derive(Clone, Debug)]
pub struct Reconciled<'a> {
    /// Policies that apply on this node.
    pub node_policies: &'a [NodePolicy],
    /// Pods of this node.
    pub pods: &'a [Arc<Pod>],
    /// What was found out and read back; `Err`: why it could not be.
    pub tables: Result<TableState<'a>, Problem>,
    /// NICs that are selected or carry the program, as the kernel shows them.
    pub nics: &'a [NicState],
    /// Names of the NICs that are selected; `None`: they could not be read.
    pub selected: Option<&'a BTreeSet<String>>,
    /// Everything that the log was told.
    pub problems: &'a BTreeSet<Problem>,
}

/// What should be in the tables, and what is.
#[derive(Clone, Copy, Debug)]
pub struct TableState<'a> {
    /// Which pods are targets.
    pub targets: &'a Targets,
    /// What should be there.
    pub desired: &'a Desired,
    /// What is there.
    pub installed: &'a Installed,
    /// Who compared them.
    pub differ: &'a Differ,
}

/// The status, without the versions. Pure: the same reconciled gives the same status.
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

/// Whether the policy is for the pod: it lives, and has addresses of its own.
pub fn selects(policy: &Policy, pod: &Pod) -> bool {
    let eligible = !pod.host_network && !pod.finished && !pod.addresses.is_empty();
    eligible && policy.namespace == pod.namespace && policy.selector.matches(&pod.labels)
}

fn sorted(mut policies: Vec<PolicyState>) -> Vec<PolicyState> {
    policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    policies
}

/// What is said nowhere else in the status.
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

//! What is in force of a policy.

use xdp_crds::{NicMode, PolicyState, Ratio, conditions::node};

use super::{
    Reconciled,
    pods::{PodFacts, Pods},
    short,
};
use crate::{policy::Policy, report::Problem, resolve::NodePolicy};

/// Why not, with a reason of [`node`].
type Obstacle = (&'static str, String);

/// `None`: the policy selects no pod of this node.
pub(super) fn state(
    reconciled: &Reconciled<'_>,
    pods: &Pods<'_>,
    node_policy: &NodePolicy,
) -> Option<PolicyState> {
    let policy = node_policy.policy.as_deref()?;
    let selected = pods.selected_by(policy);
    if selected.is_empty() {
        return None;
    }
    let whole: Vec<Obstacle> = [
        own(node_policy),
        refused(reconciled, policy),
        nics(reconciled),
        unread(reconciled),
    ]
    .into_iter()
    .flatten()
    .collect();
    let deliveries = policy.redirects().then_some(policy.delivery);
    let lacking: Vec<(&PodFacts<'_>, super::pods::Obstacle)> = selected
        .iter()
        .filter_map(|facts| Some((*facts, facts.obstacle(deliveries.as_slice())?)))
        .collect();
    let programmed = if whole.is_empty() {
        selected.len() - lacking.len()
    } else {
        0
    };
    let of_pods = of_pods(&lacking, selected.len());
    let (reason, message) = worst(whole.into_iter().chain(of_pods));
    Some(PolicyState {
        namespace: node_policy.namespace.clone(),
        name: node_policy.name.clone(),
        uid: node_policy.uid.clone(),
        observed_generation: node_policy.generation,
        programmed: reason == node::PROGRAMMED,
        reason: reason.to_owned(),
        message: short(&message),
        pods: Ratio {
            selected: selected.len() as u32,
            programmed: programmed as u32,
        },
    })
}

/// The newest version is not the one in force.
fn own(node_policy: &NodePolicy) -> Option<Obstacle> {
    let problem = node_policy.obstacle.as_ref()?;
    let reason = if problem.reason == node::INVALID_SPEC {
        node::INVALID_SPEC
    } else {
        node::PEERS_PENDING
    };
    Some((reason, told(problem)))
}

/// It does not fit.
fn refused(reconciled: &Reconciled<'_>, policy: &Policy) -> Option<Obstacle> {
    let tables = reconciled.tables.as_ref().ok()?;
    let object = policy.to_string();
    let problem = tables
        .desired
        .problems
        .iter()
        .find(|problem| problem.object == object)?;
    Some((node::LIMIT_EXCEEDED, told(problem)))
}

fn nics(reconciled: &Reconciled<'_>) -> Option<Obstacle> {
    let Some(selected) = reconciled.selected else {
        return Some((node::NIC_PROBLEM, "the NICs could not be read".to_owned()));
    };
    if selected.is_empty() {
        let message = "no NIC of the node is selected; see the chart's values `agent.nics`";
        return Some((node::NO_NIC, message.to_owned()));
    }
    let native = |name: &&String| {
        let mut nics = reconciled.nics.iter();
        nics.any(|nic| nic.name == **name && nic.mode == NicMode::Native)
    };
    let lacking = selected.iter().find(|name| !native(name))?;
    let nic = reconciled.nics.iter().find(|nic| nic.name == *lacking);
    let problem = nic.and_then(|nic| nic.problems.first());
    let message = match (problem, nic) {
        (Some(problem), _) => format!("{}: {}", problem.reason, problem.message),
        (None, Some(nic)) => format!("its XDP program is: {:?}", nic.mode),
        (None, None) => "it is gone".to_owned(),
    };
    Some((node::NIC_PROBLEM, format!("NIC {lacking}: {message}")))
}

/// What cannot be read back is not claimed.
fn unread(reconciled: &Reconciled<'_>) -> Option<Obstacle> {
    let problem = reconciled.tables.as_ref().err()?;
    Some((node::KERNEL_REFUSED, told(problem)))
}

fn of_pods(lacking: &[(&PodFacts<'_>, super::pods::Obstacle)], selected: usize) -> Option<Obstacle> {
    let rank = |(_, obstacle): &&(&PodFacts<'_>, super::pods::Obstacle)| rank(obstacle.reason);
    let (facts, obstacle) = lacking.iter().min_by_key(rank)?;
    let count = lacking.len();
    let message = format!(
        "{count} of {selected} pods; {}: {}: {}",
        facts.pod, obstacle.own, obstacle.message
    );
    Some((obstacle.reason, message))
}

fn told(problem: &Problem) -> String {
    format!("{}; {}", problem.message, problem.remedy)
}

fn worst(obstacles: impl Iterator<Item = Obstacle>) -> Obstacle {
    let worst = obstacles.min_by_key(|obstacle| rank(obstacle.0));
    worst.unwrap_or((node::PROGRAMMED, String::new()))
}

/// The words are listed the worst first.
fn rank(reason: &str) -> usize {
    node::ALL
        .iter()
        .position(|word| word.name == reason)
        .unwrap_or(usize::MAX)
}

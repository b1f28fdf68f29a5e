//! Judges for each policy whether it is programmed.

use xdp_crds::{NicMode, PolicyState, Protocol, Ratio, conditions::node};

use super::{
    Reconciled, Refused, network_policy,
    pods::{Obstacle, PodStatus, Pods},
    short,
};
use crate::{nics::reason, policy::Policy, report::Problem, resolve::NodePolicy};

/// The reason why a policy is not programmed, one of [`node`], and a message.
type PolicyObstacle = (&'static str, String);

/// Computes a policy's state. Returns `None` when the policy selects no pod of this node.
pub(super) fn state(
    reconciled: &Reconciled<'_>,
    (pods, refused): (&Pods<'_>, &Refused<'_>),
    node_policy: &NodePolicy,
) -> Option<PolicyState> {
    let policy = node_policy.policy.as_deref()?;
    let selected = pods.selected_by(policy);
    if selected.is_empty() {
        return None;
    }
    let of_policy: Vec<PolicyObstacle> = [
        not_newest(node_policy),
        over_limit(refused, policy),
        nics(reconciled),
        not_read(reconciled),
    ]
    .into_iter()
    .flatten()
    .collect();
    let deliveries = policy.redirects().then_some(policy.delivery);
    let lacking: Vec<(&PodStatus<'_>, Obstacle)> = selected
        .iter()
        .filter_map(|pod| Some((*pod, pod.obstacle(deliveries.as_slice())?)))
        .collect();
    let programmed = if of_policy.is_empty() {
        selected.len() - lacking.len()
    } else {
        0
    };
    let of_pods = of_pods(&lacking, selected.len());
    let host_ports = host_ports(&selected);
    let (reason, message) = worst(of_policy.into_iter().chain(of_pods).chain(host_ports));
    let is_programmed = [node::PROGRAMMED, node::HOST_PORTS].contains(&reason);
    let mut messages = vec![message];
    if is_programmed {
        messages.extend(limitations(reconciled, policy, &selected));
        messages.retain(|message| !message.is_empty());
    }
    Some(PolicyState {
        network_policy: network_policy::state(policy, &selected, reconciled.certainty),
        namespace: node_policy.namespace.clone(),
        name: node_policy.name.clone(),
        uid: node_policy.uid.clone(),
        observed_generation: node_policy.generation,
        programmed: is_programmed,
        reason: reason.to_owned(),
        message: short(&messages.join("; ")),
        pods: Ratio {
            selected: selected.len() as u32,
            programmed: programmed as u32,
        },
    })
}

/// Reports that the newest version is not the programmed one.
fn not_newest(node_policy: &NodePolicy) -> Option<PolicyObstacle> {
    let problem = node_policy.obstacle.as_ref()?;
    let reason = if problem.reason == node::INVALID_SPEC {
        node::INVALID_SPEC
    } else {
        node::PEERS_PENDING
    };
    Some((reason, with_remedy(problem)))
}

/// Reports that the policy exceeds a limit, or waits for its turn.
fn over_limit(refused: &Refused<'_>, policy: &Policy) -> Option<PolicyObstacle> {
    let problem = refused.get(policy.to_string().as_str())?;
    if problem.reason == node::PENDING {
        return Some((node::PENDING, with_remedy(problem)));
    }
    Some((node::LIMIT_EXCEEDED, with_remedy(problem)))
}

/// Reports that a selected NIC does not run the program natively.
fn nics(reconciled: &Reconciled<'_>) -> Option<PolicyObstacle> {
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
        (None, Some(nic)) => format!("its XDP mode is {:?}", nic.mode),
        (None, None) => "the NIC is absent".to_owned(),
    };
    Some((node::NIC_PROBLEM, format!("NIC {lacking}: {message}")))
}

/// Reports that the tables could not be read back.
fn not_read(reconciled: &Reconciled<'_>) -> Option<PolicyObstacle> {
    let problem = reconciled.tables.as_ref().err()?;
    Some((node::KERNEL_REFUSED, with_remedy(problem)))
}

/// Lists what a policy that is programmed does not do.
fn limitations(reconciled: &Reconciled<'_>, policy: &Policy, selected: &[&PodStatus<'_>]) -> Vec<String> {
    if !policy.drops() {
        return Vec::new();
    }
    let problems = reconciled.nics.iter().flat_map(|nic| &nic.problems);
    let mut of_tunnels = problems.filter(|problem| problem.reason == reason::TUNNEL_NOT_DECIDED);
    let tunnel = of_tunnels.next().map(|problem| problem.message.clone());
    tunnel.into_iter().chain(stateless(selected)).collect()
}

/// Reports that connections that pods open are not known, so that rules apply to their packets, too.
fn stateless(selected: &[&PodStatus<'_>]) -> Option<String> {
    let having = || {
        selected
            .iter()
            .filter_map(|status| Some((status.pod, status.stateless()?)))
    };
    let (pod, why) = having().next()?;
    Some(format!(
        "{} of {} pods; {pod}: its rules are stateless: Drop, Reject and limits apply to the packets of connections that \
         it opens, too: {why}",
        having().count(),
        selected.len(),
    ))
}

/// Summarizes the pods for which the policy is not programmed.
fn of_pods(lacking: &[(&PodStatus<'_>, Obstacle)], selected: usize) -> Option<PolicyObstacle> {
    let rank = |(_, obstacle): &&(&PodStatus<'_>, Obstacle)| rank(obstacle.reason);
    let (status, obstacle) = lacking.iter().min_by_key(rank)?;
    let count = lacking.len();
    let message = format!(
        "{count} of {selected} pods; {}: {}: {}",
        status.pod, obstacle.own, obstacle.message
    );
    Some((obstacle.reason, message))
}

/// Reports that pods can be reached by the node's address, too. Packets to it are not considered.
fn host_ports(selected: &[&PodStatus<'_>]) -> Option<PolicyObstacle> {
    let having = || selected.iter().filter(|status| !status.pod.host_ports.is_empty());
    let first = having().next()?.pod;
    let port = |(protocol, number): &(Protocol, u16)| format!("{} {number}", protocol.name());
    let ports: Vec<String> = first.host_ports.iter().map(port).collect();
    let message = format!(
        "{} of {} pods have a hostPort; {first}: {}: packets to the node's address and this port meet no rule",
        having().count(),
        selected.len(),
        ports.join(", ")
    );
    Some((node::HOST_PORTS, message))
}

fn with_remedy(problem: &Problem) -> String {
    format!("{}; {}", problem.message, problem.remedy)
}

fn worst(obstacles: impl Iterator<Item = PolicyObstacle>) -> PolicyObstacle {
    let worst = obstacles.min_by_key(|obstacle| rank(obstacle.0));
    worst.unwrap_or((node::PROGRAMMED, String::new()))
}

/// Returns the rank of a reason. [`node::ALL`] lists the worst reason first.
fn rank(reason: &str) -> usize {
    node::ALL
        .iter()
        .position(|word| word.name == reason)
        .unwrap_or(usize::MAX)
}

//! The status of a policy, from the policy and the reports of the agents. Without IO.

mod message;
mod network_policy;
mod nodes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use message::severity;
pub use nodes::{NodeVerdict, Obstacle, verdict};
use xdp_crds::{
    Ratio, XdpPolicyStatus,
    conditions::{ACCEPTED, NETWORK_POLICY_HONOURED, PROGRAMMED, READY, accepted, programmed},
};

use crate::store::{AgentReport, PolicyObject, Refusal};

/// The number of nodes that a message names.
pub const NAMED_NODES: usize = 5;

/// A condition, before its times.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ConditionValue {
    is_true: bool,
    reason: String,
    message: String,
}

/// Returns the status of a policy. `targets` counts the selected pods of each selected node; `report` returns
/// the report of a node's agent. A condition whose status does not change keeps its transition time, so that
/// the result equals the stored status exactly if there is nothing to write.
pub fn status<'a, R: Into<AgentReport<'a>>>(
    policy: &PolicyObject,
    targets: &BTreeMap<&'a str, u32>,
    report: impl Fn(&'a str) -> R,
    now: &Time,
) -> XdpPolicyStatus {
    let verdicts: Vec<NodeVerdict<'a>> = targets
        .iter()
        .map(|(node, pods)| verdict(policy, node, *pods, report(node)))
        .collect();
    let nodes = Ratio {
        selected: verdicts.len() as u32,
        programmed: verdicts
            .iter()
            .filter(|verdict| verdict.obstacle.is_none())
            .count() as u32,
    };
    let pods = Ratio {
        selected: targets.values().sum(),
        programmed: verdicts.iter().map(|verdict| verdict.pods_programmed).sum(),
    };
    let (accepted, programmed) = match &policy.content {
        Ok(_) => (valid(), programmed(verdicts, nodes, pods)),
        Err(refusal) => (refused(refusal), not_accepted()),
    };
    let deciding = if accepted.is_true { &programmed } else { &accepted };
    let ready = deciding.clone();
    let before = policy
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let honoured = honoured(policy, targets, report);
    let conditions = [(ACCEPTED, accepted), (PROGRAMMED, programmed), (READY, ready)];
    let conditions = conditions
        .into_iter()
        .chain(honoured.map(|honoured| (NETWORK_POLICY_HONOURED, honoured)));
    XdpPolicyStatus {
        observed_generation: Some(policy.generation),
        conditions: conditions
            .map(|(kind, value)| condition(kind, value, policy.generation, before, now))
            .collect(),
        nodes,
        pods,
    }
}

/// Returns the condition `NetworkPolicyHonoured`; `None` if no rule redirects, or no node reports the current
/// version.
fn honoured<'a, R: Into<AgentReport<'a>>>(
    policy: &PolicyObject,
    targets: &BTreeMap<&'a str, u32>,
    report: impl Fn(&'a str) -> R,
) -> Option<ConditionValue> {
    let content = policy
        .content
        .as_ref()
        .ok()
        .filter(|content| content.redirects())?;
    let reported = targets.keys().filter_map(|node| match report(node).into() {
        AgentReport::State(state) => state.0.as_ref().ok(),
        AgentReport::Unreachable | AgentReport::Missing | AgentReport::FormerBoot => None,
    });
    let states = reported
        .flat_map(|state| &state.policies)
        .filter(|state| state.uid == policy.uid && state.observed_generation == policy.generation);
    let states: Vec<_> = states.filter_map(|state| state.network_policy.as_ref()).collect();
    (!states.is_empty()).then(|| network_policy::honoured(content, states.into_iter()))
}

/// Returns whether a stored status is up to date. Ignores conditions of other controllers.
pub fn is_written(stored: Option<&XdpPolicyStatus>, wanted: &XdpPolicyStatus) -> bool {
    let Some(stored) = stored else { return false };
    let same = |kind: &&str| find(&stored.conditions, kind) == find(&wanted.conditions, kind);
    [ACCEPTED, PROGRAMMED, READY, NETWORK_POLICY_HONOURED]
        .iter()
        .all(same)
        && stored.observed_generation == wanted.observed_generation
        && (stored.nodes, stored.pods) == (wanted.nodes, wanted.pods)
}

/// Returns the condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn condition(
    kind: &str,
    value: ConditionValue,
    generation: i64,
    before: &[Condition],
    now: &Time,
) -> Condition {
    let status = if value.is_true { "True" } else { "False" };
    let since = find(before, kind)
        .filter(|old| old.status == status)
        .map_or(now, |old| &old.last_transition_time);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: value.reason,
        message: value.message,
        observed_generation: Some(generation),
        last_transition_time: since.clone(),
    }
}

fn valid() -> ConditionValue {
    ConditionValue {
        is_true: true,
        reason: accepted::ACCEPTED.to_owned(),
        message: String::new(),
    }
}

fn refused(refusal: &Refusal) -> ConditionValue {
    ConditionValue {
        is_true: false,
        reason: refusal.reason.to_owned(),
        message: message::bounded(&refusal.message),
    }
}

fn not_accepted() -> ConditionValue {
    ConditionValue {
        is_true: false,
        reason: programmed::NOT_ACCEPTED.to_owned(),
        message: "the policy is refused; see the condition Accepted".to_owned(),
    }
}

fn programmed(verdicts: Vec<NodeVerdict<'_>>, nodes: Ratio, pods: Ratio) -> ConditionValue {
    let limitations = message::limitations(&verdicts);
    let has_host_ports = verdicts.iter().any(|verdict| verdict.has_host_ports);
    let mut obstacles: Vec<(&str, Obstacle)> = verdicts
        .into_iter()
        .filter_map(|verdict| Some((verdict.node, verdict.obstacle?)))
        .collect();
    obstacles.sort_by_key(|(node, obstacle)| (severity(&obstacle.reason), *node));
    let (is_true, reason, message) = match obstacles.first() {
        Some((_, worst)) => (
            false,
            worst.reason.clone(),
            message::message(&obstacles, nodes.selected),
        ),
        None if nodes.selected == 0 => (
            true,
            programmed::NO_PODS.to_owned(),
            "the policy selects no running pod".to_owned(),
        ),
        None => (
            true,
            if has_host_ports {
                programmed::HOST_PORTS.to_owned()
            } else {
                programmed::PROGRAMMED.to_owned()
            },
            format!(
                "programmed for {} on {}{limitations}",
                message::count(pods.selected, "pod"),
                message::count(nodes.selected, "node")
            ),
        ),
    };
    ConditionValue {
        is_true,
        reason,
        message,
    }
}

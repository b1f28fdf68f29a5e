//! What a policy's status should say.

mod nodes;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use nodes::{Obstacle, Verdict, verdict};
pub use words::{is_passing, severity};
use xdp_crds::{
    Ratio, XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED, accepted, programmed},
};

use crate::world::{PolicyObject, Refusal, Report};

/// Nodes that a message names.
pub const NAMED_NODES: usize = 5;

/// What there is to be said about a policy, before times.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    is_true: bool,
    reason: String,
    message: String,
}

/// What the status of a policy should say. `targets` counts the selected pods of each selected node; `state` looks up
/// what a node's agent reports. Where a condition's status stays the same, so does the time of its transition: what is
/// returned equals the stored status exactly if there is nothing to write.
pub fn status<'a, R: Into<Report<'a>>>(
    policy: &PolicyObject,
    targets: &BTreeMap<&'a str, u32>,
    state: impl Fn(&'a str) -> R,
    now: &Time,
) -> XdpPolicyStatus {
    let verdicts: Vec<Verdict<'a>> = targets
        .iter()
        .map(|(node, pods)| verdict(policy, node, *pods, state(node)))
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
    let findings = match &policy.content {
        Ok(_) => [
            (ACCEPTED, valid()),
            (PROGRAMMED, programmed(verdicts, nodes, pods)),
        ],
        Err(refusal) => [(ACCEPTED, refused(refusal)), (PROGRAMMED, not_accepted())],
    };
    let before = policy
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    XdpPolicyStatus {
        conditions: findings
            .into_iter()
            .map(|(kind, finding)| condition(kind, finding, policy.generation, before, now))
            .collect(),
        nodes,
        pods,
    }
}

/// Whether a stored status says all that it should. Conditions of others do not matter.
pub fn is_written(stored: Option<&XdpPolicyStatus>, wanted: &XdpPolicyStatus) -> bool {
    let Some(stored) = stored else { return false };
    let same = |kind: &str| find(&stored.conditions, kind) == find(&wanted.conditions, kind);
    same(ACCEPTED) && same(PROGRAMMED) && (stored.nodes, stored.pods) == (wanted.nodes, wanted.pods)
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn condition(kind: &str, finding: Finding, generation: i64, before: &[Condition], now: &Time) -> Condition {
    let status = if finding.is_true { "True" } else { "False" };
    let since = find(before, kind)
        .filter(|old| old.status == status)
        .map_or(now, |old| &old.last_transition_time);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason,
        message: finding.message,
        observed_generation: Some(generation),
        last_transition_time: since.clone(),
    }
}

fn valid() -> Finding {
    Finding {
        is_true: true,
        reason: accepted::ACCEPTED.to_owned(),
        message: String::new(),
    }
}

fn refused(refusal: &Refusal) -> Finding {
    Finding {
        is_true: false,
        reason: refusal.reason.to_owned(),
        message: words::bounded(&refusal.message),
    }
}

fn not_accepted() -> Finding {
    Finding {
        is_true: false,
        reason: programmed::NOT_ACCEPTED.to_owned(),
        message: "the policy is refused: see the condition Accepted".to_owned(),
    }
}

fn programmed(verdicts: Vec<Verdict<'_>>, nodes: Ratio, pods: Ratio) -> Finding {
    let mut obstacles: Vec<(&str, Obstacle)> = verdicts
        .into_iter()
        .filter_map(|verdict| Some((verdict.node, verdict.obstacle?)))
        .collect();
    obstacles.sort_by_key(|(node, obstacle)| (severity(&obstacle.reason), *node));
    let (is_true, reason, message) = match obstacles.first() {
        Some((_, worst)) => (
            false,
            worst.reason.clone(),
            words::message(&obstacles, nodes.selected),
        ),
        None if nodes.selected == 0 => (
            true,
            programmed::NO_PODS.to_owned(),
            "no running pod is selected".to_owned(),
        ),
        None => (
            true,
            programmed::PROGRAMMED.to_owned(),
            format!(
                "programmed for {} on {}",
                words::count(pods.selected, "pod"),
                words::count(nodes.selected, "node")
            ),
        ),
    };
    Finding {
        is_true,
        reason,
        message,
    }
}

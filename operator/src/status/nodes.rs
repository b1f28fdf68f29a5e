//! The verdict on a policy from the report of one node.

use xdp_crds::{
    PolicyState,
    conditions::{node, programmed},
};

use crate::store::{AgentReport, PolicyObject, ReportedState};

/// Whether a policy is programmed on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict<'a> {
    /// Name of the node.
    pub node: &'a str,
    /// The number of selected pods for which the latest version of the policy is programmed.
    pub pods_programmed: u32,
    /// Why the policy is not programmed.
    pub obstacle: Option<Obstacle>,
    /// What the policy does not do there although it is programmed; empty if nothing is known.
    pub limitation: String,
    /// Whether pods there have a `hostPort`.
    pub has_host_ports: bool,
}

/// Why a policy is not programmed on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason, as a constant in CamelCase.
    pub reason: String,
    /// The reason for a person.
    pub message: String,
}

impl Obstacle {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Returns the verdict on a policy from the report of a node that runs `pods` of its pods.
pub fn verdict<'a>(
    policy: &PolicyObject,
    node: &'a str,
    pods: u32,
    report: impl Into<AgentReport<'a>>,
) -> NodeVerdict<'a> {
    let report = match report.into() {
        AgentReport::Unreachable => Err(Obstacle::new(
            programmed::NODE_UNREACHABLE,
            "node is unreachable; its last report may be stale",
        )),
        AgentReport::FormerBoot => Err(Obstacle::new(
            programmed::OUTDATED,
            "node has restarted since its last report",
        )),
        AgentReport::Missing => Err(Obstacle::new(
            programmed::NO_NODE_STATE,
            "node has no XdpNodeState; check that the agent runs on it",
        )),
        AgentReport::State(ReportedState(Err(error))) => Err(Obstacle::new(
            programmed::NO_NODE_STATE,
            format!("cannot read the XdpNodeState of the node: {error}"),
        )),
        AgentReport::State(ReportedState(Ok(state))) => current(policy, &state.policies),
    };
    match report {
        Ok(report) => NodeVerdict {
            node,
            pods_programmed: report.pods.programmed.min(pods),
            obstacle: obstacle(report, pods),
            limitation: if report.programmed {
                report.message.clone()
            } else {
                String::new()
            },
            has_host_ports: report.programmed && report.reason == node::HOST_PORTS,
        },
        Err(obstacle) => NodeVerdict {
            node,
            pods_programmed: 0,
            obstacle: Some(obstacle),
            limitation: String::new(),
            has_host_ports: false,
        },
    }
}

/// Returns the report about this version of the policy.
fn current<'a>(policy: &PolicyObject, reports: &'a [PolicyState]) -> Result<&'a PolicyState, Obstacle> {
    // Only the uid identifies a policy: an earlier policy may have had the same name.
    let Some(report) = reports.iter().find(|report| report.uid == policy.uid) else {
        return Err(Obstacle::new(
            programmed::OUTDATED,
            "node has not reported the policy yet",
        ));
    };
    if report.observed_generation != policy.generation {
        let message = format!(
            "node reports generation {} instead of {}",
            report.observed_generation, policy.generation
        );
        return Err(Obstacle::new(programmed::OUTDATED, message));
    }
    Ok(report)
}

fn obstacle(report: &PolicyState, pods: u32) -> Option<Obstacle> {
    if !report.programmed {
        let reason = match report.reason.as_str() {
            "" | node::PROGRAMMED => node::PENDING,
            reason => reason,
        };
        return Some(Obstacle::new(reason, &report.message));
    }
    let known = report.pods.selected;
    (known < pods).then(|| {
        let message = format!("node reports {known} of {pods} selected pods");
        Obstacle::new(programmed::OUTDATED, message)
    })
}

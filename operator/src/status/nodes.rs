//! What a node's report says about a policy.

use xdp_crds::{
    PolicyState,
    conditions::{node, programmed},
};

use crate::world::{NodeState, PolicyObject, Report};

/// How things are with a policy on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// ObjectName of the node.
    pub node: &'a str,
    /// Selected pods there for which the policy's newest version is in force.
    pub pods_programmed: u32,
    /// Why it is not in force as it should be.
    pub obstacle: Option<Obstacle>,
}

/// Why a policy is not in force on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// A constant in CamelCase.
    pub reason: String,
    /// The same for a person.
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

/// How things are with a policy on a node that runs `pods` of its pods.
pub fn verdict<'a>(
    policy: &PolicyObject,
    node: &'a str,
    pods: u32,
    state: impl Into<Report<'a>>,
) -> Verdict<'a> {
    let report = match state.into() {
        Report::Unreachable => Err(Obstacle::new(
            programmed::NODE_UNREACHABLE,
            "nobody hears from the node, so what its agent reported last may be no longer true",
        )),
        Report::FormerBoot => Err(Obstacle::new(
            programmed::OUTDATED,
            "the node has been started anew since its agent reported",
        )),
        Report::Missing => Err(Obstacle::new(
            programmed::NO_NODE_STATE,
            "no XdpNodeState: is the agent running there?",
        )),
        Report::State(NodeState(Err(error))) => Err(Obstacle::new(
            programmed::NO_NODE_STATE,
            format!("its XdpNodeState cannot be read: {error}"),
        )),
        Report::State(NodeState(Ok(state))) => current(policy, &state.policies),
    };
    match report {
        Ok(report) => Verdict {
            node,
            pods_programmed: report.pods.programmed.min(pods),
            obstacle: obstacle(report, pods),
        },
        Err(obstacle) => Verdict {
            node,
            pods_programmed: 0,
            obstacle: Some(obstacle),
        },
    }
}

/// The report about this version of this policy.
fn current<'a>(policy: &PolicyObject, reports: &'a [PolicyState]) -> Result<&'a PolicyState, Obstacle> {
    // The uid alone identifies it: a policy's name may have been another's before.
    let Some(report) = reports.iter().find(|report| report.uid == policy.uid) else {
        return Err(Obstacle::new(
            programmed::OUTDATED,
            "has not reported the policy yet",
        ));
    };
    if report.observed_generation != policy.generation {
        let message = format!(
            "reports generation {}, not {}",
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
        let message = format!("reports {known} of {pods} selected pods");
        Obstacle::new(programmed::OUTDATED, message)
    })
}

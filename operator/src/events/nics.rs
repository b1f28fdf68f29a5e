//! Events of nodes: problems of their NICs.

use std::collections::BTreeSet;

use xdp_client::object::ObjectName;

use super::{EventDraft, bounded};
use crate::store::ClusterState;

/// The problems that have an Event, and that still exist.
#[derive(Debug, Default)]
pub struct NicEvents {
    reported: BTreeSet<NicProblemKey>,
}

/// Identifies a problem of a NIC. Its message is not a part of that: numbers in it may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NicProblemKey {
    node: String,
    uid: String,
    nic: String,
    reason: String,
}

impl NicEvents {
    /// Returns an Event for each new problem. The first call returns Events for all problems: the name of an
    /// Event identifies the problem, so the API server refuses a second one.
    pub fn update(&mut self, cluster: &ClusterState) -> Vec<EventDraft> {
        let found = problems(cluster);
        let new = found.iter().filter(|(key, _)| !self.reported.contains(key));
        let events = new.map(|(key, message)| draft(key, message)).collect();
        self.reported = found.into_iter().map(|(key, _)| key).collect();
        events
    }
}

fn problems(cluster: &ClusterState) -> Vec<(NicProblemKey, String)> {
    let mut found = Vec::new();
    for (name, state) in cluster.node_states.iter() {
        // An Event needs an object that it concerns: skip states whose node is absent.
        let (Some(node), Ok(state)) = (cluster.nodes.get(name), &state.0) else {
            continue;
        };
        for nic in &state.nics {
            for problem in &nic.problems {
                let key = NicProblemKey {
                    node: name.name.clone(),
                    uid: node.uid.clone(),
                    nic: nic.name.clone(),
                    reason: problem.reason.clone(),
                };
                let message = format!("NIC {}: {}; {}", nic.name, problem.message, problem.remedy);
                found.push((key, message));
            }
        }
    }
    found
}

fn draft(key: &NicProblemKey, message: &str) -> EventDraft {
    EventDraft {
        kind: "Node",
        api_version: "v1",
        name: ObjectName::new("", &key.node),
        uid: key.uid.clone(),
        warning: true,
        reason: key.reason.clone(),
        action: "Attach",
        message: bounded(message),
        topic: format!("{} {}", key.nic, key.reason),
    }
}

//! Events of nodes: problems of their NICs.

use std::collections::{BTreeMap, BTreeSet};

use xdp_client::object::ObjectName;

use super::{EventDraft, bounded};
use crate::store::ClusterState;

/// The problems that have an Event, and that still exist, by node.
#[derive(Debug, Default)]
pub struct NicEvents {
    reported: BTreeMap<String, BTreeSet<NicProblemKey>>,
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
    /// Returns an Event for each new problem of a node. The first call returns Events for all its problems:
    /// the name of an Event identifies the problem, so the API server refuses a second one.
    pub fn update(&mut self, node: &str, cluster: &ClusterState) -> Vec<EventDraft> {
        let found = problems(node, cluster);
        let reported = self.reported.entry(node.to_owned()).or_default();
        let new = found.iter().filter(|(key, _)| !reported.contains(key));
        let events = new.map(|(key, message)| draft(key, message)).collect();
        *reported = found.into_iter().map(|(key, _)| key).collect();
        if reported.is_empty() {
            self.reported.remove(node);
        }
        events
    }
}

fn problems(node: &str, cluster: &ClusterState) -> Vec<(NicProblemKey, String)> {
    let name = ObjectName::new("", node);
    // An Event needs an object that it concerns: skip states whose node is absent.
    let (Some(info), Some(Ok(state))) = (
        cluster.nodes.get(&name),
        cluster.node_states.get(&name).map(|state| state.0.as_ref()),
    ) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for nic in &state.nics {
        for problem in &nic.problems {
            let key = NicProblemKey {
                node: node.to_owned(),
                uid: info.uid.clone(),
                nic: nic.name.clone(),
                reason: problem.reason.clone(),
            };
            let message = format!("NIC {}: {}; {}", nic.name, problem.message, problem.remedy);
            found.push((key, message));
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

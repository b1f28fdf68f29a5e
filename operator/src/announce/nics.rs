//! Events about nodes: NICs that cannot do what they should.

use std::collections::BTreeSet;

use xdp_client::object::ObjectName;

use super::{Note, bounded};
use crate::world::World;

/// What has been announced and is still so.
#[derive(Debug, Default)]
pub struct Nics {
    announced: BTreeSet<Fact>,
}

/// A problem of a NIC; its message may change (it has numbers in it) without being news.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    node: String,
    uid: String,
    nic: String,
    reason: String,
}

impl Nics {
    /// Looks at what nodes report. What was there before the first look is returned too: an Event's name says what it
    /// is about, so that the API server refuses it if it is there already.
    pub fn look(&mut self, world: &World) -> Vec<Note> {
        let found = facts(world);
        let news = found.iter().filter(|(fact, _)| !self.announced.contains(fact));
        let notes = news.map(|(fact, text)| note(fact, text)).collect();
        self.announced = found.into_iter().map(|(fact, _)| fact).collect();
        notes
    }
}

fn facts(world: &World) -> Vec<(Fact, String)> {
    let mut found = Vec::new();
    for (name, state) in world.node_states.iter() {
        // Without the node there is nobody to look at its Events.
        let (Some(node), Ok(state)) = (world.nodes.get(name), &state.0) else {
            continue;
        };
        for nic in &state.nics {
            for problem in &nic.problems {
                let fact = Fact {
                    node: name.name.clone(),
                    uid: node.uid.clone(),
                    nic: nic.name.clone(),
                    reason: problem.reason.clone(),
                };
                let text = format!("NIC {}: {}; {}", nic.name, problem.message, problem.remedy);
                found.push((fact, text));
            }
        }
    }
    found
}

fn note(fact: &Fact, text: &str) -> Note {
    Note {
        kind: "Node",
        api_version: "v1",
        name: ObjectName::new("", &fact.node),
        uid: fact.uid.clone(),
        warning: true,
        reason: fact.reason.clone(),
        action: "Attach",
        text: bounded(text),
        topic: format!("{} {}", fact.nic, fact.reason),
    }
}

//! The tables of flows: carried over to others, rid of what belongs to nobody, and drained.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::info;
use xdp_client::error_chain;
use xdp_plan::{
    drain::{Draining, Drains, Moment, draining},
    facts::NodeFacts,
    installed::Installed,
    owners::Owners,
    report::Problem,
    targets::Targets,
};

use crate::datapath::{Datapath, FlowTable, OpenError};

/// How long a count of flows holds: to count tens of thousands takes longer than a round without it. Shorter than the
/// time between two looks at everything, so that each of these counts anew.
const COUNTED: Duration = Duration::from_secs(25);

/// What the loop keeps about flows between rounds.
pub(super) struct Flows {
    started: Instant,
    drains: Drains,
    counted: Option<Counted>,
    /// Whose the addresses were when the tables were last rid of what is nobody's.
    owners: Option<Owners>,
}

/// Flows by slot, when they were last counted. Who had none then may have some by now.
struct Counted {
    at: Instant,
    flows: BTreeMap<u32, u64>,
}

impl Counted {
    fn holds(&self, age: Duration, mut slots: impl Iterator<Item = u32>) -> bool {
        age < COUNTED && slots.all(|slot| self.flows.contains_key(&slot))
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            drains: Drains::default(),
            counted: None,
            owners: None,
        }
    }
}

impl Flows {
    /// Pods whose flows go on although nothing redirects to them any more.
    pub(super) fn draining(
        &mut self,
        datapath: &Datapath,
        installed: &Installed,
        (targets, facts): (&Targets, &NodeFacts),
    ) -> Vec<Draining> {
        let draining = draining(installed, targets, facts);
        if draining.is_empty() {
            return self.drains.update(draining, &Moment::default());
        }
        match self.moment(datapath, &draining) {
            Ok(moment) => self.drains.update(draining, &moment),
            // What cannot be read is kept until it can.
            Err(_) => draining,
        }
    }

    fn moment(&mut self, datapath: &Datapath, draining: &[Draining]) -> Result<Moment, OpenError> {
        let holds = |counted: &Counted| {
            let slots = draining.iter().map(|one| one.slot);
            counted.holds(counted.at.elapsed(), slots)
        };
        let counted = match self.counted.take().filter(holds) {
            Some(counted) => counted,
            None => count(datapath)?,
        };
        let flows = counted.flows.clone();
        self.counted = Some(counted);
        Ok(Moment {
            now: self.started.elapsed(),
            packets: datapath.pinned().drained()?,
            flows,
        })
    }

    /// After the tables lead to other pods: takes out what belongs to nobody any more.
    pub(super) fn settle(&mut self, datapath: &mut Datapath, installed: &Installed) -> Option<Problem> {
        let owners = Owners::new(installed);
        let migrating = datapath.migrating();
        if !migrating && self.owners.as_ref() == Some(&owners) {
            return None;
        }
        let lost = self.owners.as_ref().map(|before| owners.lost_since(before));
        match datapath.purge_flows(&owners, &lost.unwrap_or_default(), migrating) {
            Ok(removed) => {
                if removed > 0 {
                    info!(removed, "flows of pods that are gone forgotten");
                }
                self.owners = Some(owners);
                None
            }
            Err(error) => Some(unreadable(error)),
        }
    }
}

fn count(datapath: &Datapath) -> Result<Counted, OpenError> {
    let at = Instant::now();
    let mut flows = BTreeMap::new();
    for batch in datapath.pinned().flows(FlowTable::Established)? {
        for slot in batch?.into_iter().filter_map(|entry| entry.slot) {
            *flows.entry(slot).or_default() += 1;
        }
    }
    Ok(Counted { at, flows })
}

/// Before the first program is exchanged, and after the last one: flows of tables that others replace come over.
pub(super) fn carry(datapath: &mut Datapath) -> Option<Problem> {
    if !datapath.migrating() {
        return None;
    }
    match datapath.migrate_flows() {
        Ok(flows) => {
            info!(flows, "flows carried over to new tables");
            None
        }
        Err(error) => Some(unreadable(error)),
    }
}

/// The old tables are let go of once all programs that used them have been exchanged.
pub(super) fn finish_migration(datapath: &mut Datapath) -> Option<Problem> {
    datapath.finish_migration().err().map(unreadable)
}

fn unreadable(error: OpenError) -> Problem {
    let remedy = "the agent tries again by itself; flows that are lost go on in the stack";
    Problem::new("flows", "FlowsUnreadable", error_chain(&error), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_holds_for_a_while_and_never_for_a_slot_that_had_no_flows() {
        let counted = Counted {
            at: Instant::now(),
            flows: BTreeMap::from([(1, 5), (2, 1)]),
        };
        let soon = COUNTED / 2;
        assert!(counted.holds(soon, [1, 2].into_iter()));
        assert!(!counted.holds(soon, [1, 3].into_iter()));
        assert!(!counted.holds(COUNTED, [1].into_iter()));
    }
}

//! The tables of flows: carried over to others, rid of what belongs to nobody, and drained.

use std::collections::BTreeMap;
use std::time::Instant;

use tracing::info;
use xdp_plan::{
    drain::{Draining, Drains, Moment, draining},
    facts::NodeFacts,
    installed::Installed,
    owners::Owners,
    report::Problem,
    targets::Targets,
};

use super::problems::chain;
use crate::datapath::{Datapath, FlowTable, OpenError};

/// What the loop keeps about flows between rounds.
pub(super) struct Flows {
    started: Instant,
    drains: Drains,
    /// Whose the addresses were when the tables were last rid of what is nobody's.
    owners: Option<Owners>,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            drains: Drains::default(),
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
        match self.moment(datapath) {
            Ok(moment) => self.drains.update(draining, &moment),
            // What cannot be read is kept until it can.
            Err(_) => draining,
        }
    }

    fn moment(&self, datapath: &Datapath) -> Result<Moment, OpenError> {
        let mut flows = BTreeMap::new();
        for batch in datapath.pinned().flows(FlowTable::Flows)? {
            for slot in batch?.into_iter().filter_map(|entry| entry.slot) {
                *flows.entry(slot).or_default() += 1;
            }
        }
        Ok(Moment {
            now: self.started.elapsed(),
            packets: datapath.pinned().drained()?,
            flows,
        })
    }

    /// After the tables lead to other pods: takes out what belongs to nobody any more.
    pub(super) fn settle(&mut self, datapath: &mut Datapath, installed: &Installed) -> Option<Problem> {
        let owners = Owners::new(installed);
        let carries = datapath.carries();
        if !carries && self.owners.as_ref() == Some(&owners) {
            return None;
        }
        let lost = self.owners.as_ref().map(|before| owners.lost_since(before));
        match datapath.settle_flows(&owners, &lost.unwrap_or_default(), carries) {
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

/// Before the first program is exchanged, and after the last one: flows of tables that others replace come over.
pub(super) fn carry(datapath: &mut Datapath) -> Option<Problem> {
    if !datapath.carries() {
        return None;
    }
    match datapath.carry_flows() {
        Ok(flows) => {
            info!(flows, "flows carried over to new tables");
            None
        }
        Err(error) => Some(unreadable(error)),
    }
}

/// The old tables are let go of once all programs that used them have been exchanged.
pub(super) fn end_carry(datapath: &mut Datapath) -> Option<Problem> {
    datapath.end_carry().err().map(unreadable)
}

fn unreadable(error: OpenError) -> Problem {
    let remedy = "the agent tries again by itself; flows that are lost go on in the stack";
    Problem::new("flows", "FlowsUnreadable", chain(error), remedy)
}

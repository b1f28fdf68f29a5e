//! Flows of pods that drain, and flows whose pod is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};
use xdp_plan::{
    drain::{Draining, Drains, Moment, draining},
    facts::NodeFacts,
    installed::Installed,
    owners::Owners,
    report::Problem,
    targets::Targets,
};

use crate::reconcile::kernel::Kernel;

/// How long a count of flows holds: counting tens of thousands takes longer than a reconcile without it.
/// Shorter than the time between two full resyncs, so that each of these counts again.
const COUNTED: Duration = Duration::from_secs(25);

/// How often the shares of flows follow what the pods use.
const SWEEP: Duration = Duration::from_secs(2);
/// Sweeps of large tables take at most one part in this number of the loop's time.
const SWEEP_PART: u32 = 20;

/// What the loop keeps about flows between reconciles.
pub(super) struct Flows {
    started: Instant,
    drains: Drains,
    counted: Option<Counted>,
    /// The owners of the addresses when stale flows were last purged.
    owners: Option<Owners>,
    /// The slots of pods.
    slots: BTreeSet<u32>,
    /// When the shares are swept again.
    sweep: Instant,
}

/// Flows by slot, when they were last counted. A slot that had none then may have some by now.
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
            slots: BTreeSet::new(),
            sweep: Instant::now(),
        }
    }
}

impl Flows {
    /// Returns the pods that no rule redirects to any more, and whose tracked flows go on.
    pub(super) fn keep_draining(
        &mut self,
        kernel: &mut impl Kernel,
        installed: &Installed,
        (targets, facts): (&Targets, &NodeFacts),
    ) -> Vec<Draining> {
        let draining = draining(installed, targets, facts);
        if draining.is_empty() {
            return self.drains.update(draining, &Moment::default());
        }
        match self.moment(kernel, &draining) {
            Ok(moment) => self.drains.update(draining, &moment),
            // A pod whose flows cannot be read drains until they can.
            Err(_) => draining,
        }
    }

    fn moment(&mut self, kernel: &mut impl Kernel, draining: &[Draining]) -> Result<Moment, Problem> {
        let holds = |counted: &Counted| {
            let slots = draining.iter().map(|one| one.slot);
            counted.holds(counted.at.elapsed(), slots)
        };
        let counted = match self.counted.take().filter(holds) {
            Some(counted) => counted,
            None => Counted {
                at: Instant::now(),
                flows: kernel.count_flows()?,
            },
        };
        let flows = counted.flows.clone();
        self.counted = Some(counted);
        Ok(Moment {
            now: self.started.elapsed(),
            packets: kernel.drained()?,
            flows,
        })
    }

    /// Removes stale flows when addresses lead to other pods than before. While flows are being migrated,
    /// their own change does that.
    pub(super) fn purge(&mut self, kernel: &mut impl Kernel, installed: &Installed) -> Option<Problem> {
        let owners = Owners::new(installed);
        if kernel.is_migrating() || self.owners.as_ref() == Some(&owners) {
            return None;
        }
        let lost = self.owners.as_ref().map(|before| owners.lost_since(before));
        match kernel.purge_flows(&owners, &lost.unwrap_or_default()) {
            Ok(removed) => {
                if removed > 0 {
                    info!(removed, "removed flows of pods that are gone");
                }
                self.owners = Some(owners);
                self.slots = installed.pods.keys().copied().collect();
                // A pod in the slot of another one must not begin with the share of that one.
                self.sweep = Instant::now();
                self.sweep(kernel);
                None
            }
            Err(problem) => Some(problem),
        }
    }

    /// Adapts the shares of pods in the flow tables, if it is time for that.
    pub(super) fn sweep(&mut self, kernel: &mut impl Kernel) {
        let started = Instant::now();
        if started < self.sweep || self.owners.is_none() || kernel.is_migrating() {
            return;
        }
        match kernel.sweep_flows(&self.slots) {
            Ok(0) => {}
            Ok(deleted) => debug!(
                deleted,
                "deleted established flows for which their pods have no share"
            ),
            Err(problem) => warn!(message = problem.message, "cannot adapt the shares of flows"),
        }
        let now = Instant::now();
        self.sweep = now + SWEEP.max((now - started) * SWEEP_PART);
    }
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

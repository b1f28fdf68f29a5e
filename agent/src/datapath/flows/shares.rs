//! The shares of pods in the tables of tracked flows: what they use is counted, what they may use is set, and
//! what they have no share for is deleted.
//!
//! The programs stop at the limits by themselves ([`xdp_core::flows`]). Here the limits follow the demand,
//! and established flows that have ended or are idle make room, for the table evicts nothing.

mod table;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::datapath) use table::ShareTable;
use table::{Counts, OPENED, shares_of};
use xdp_core::{
    flows::EPOCH_SHIFT,
    tables::{Config, FlowLimits, FlowShare, FlowValue, MAX_SLOTS},
};
use xdp_plan::shares::{Claim, Excess, excess, shares};

use crate::{
    datapath::{
        Datapath,
        error::OpenError,
        flows::{FlowTable, RawFlow, array, entry, unreadable},
        kernel::sys,
    },
    node::clock::jiffies,
};

/// What the last sweep has found and set.
#[derive(Default)]
pub(in crate::datapath) struct Sweeper {
    slots: BTreeSet<u32>,
    shares: BTreeMap<u32, Swept>,
}

/// A share at a sweep.
#[derive(Clone, Copy, Default)]
struct Swept {
    counts: Counts,
    /// The limit of established flows.
    limit: u32,
    /// Whether it has refused some since the sweep before.
    is_refused: bool,
    /// The flows that were opened in a window lately.
    opens: u32,
}

/// The established flows of a share: how many were idle for how many epochs.
#[derive(Default)]
struct Ages(BTreeMap<u32, u32>);

impl Ages {
    fn used(&self) -> u32 {
        self.0.values().sum()
    }

    fn excess(&self, share: &Swept) -> Option<Excess> {
        let ages: Vec<(u32, u32)> = self.0.iter().map(|(age, count)| (*age, *count)).collect();
        excess(share.limit, share.is_refused, &ages)
    }

    fn remove(&mut self, age: u32) {
        if let Some(count) = self.0.get_mut(&age) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Datapath {
    /// Sets the limits of all slots until the next sweep: how many more established flows there may be, and
    /// how many may be opened in a window.
    pub fn reset_flow_limits(&self, established: u32, opens: u32) -> Result<(), OpenError> {
        self.pinned.tables.shares.reset(0..MAX_SLOTS, established, opens)
    }

    /// Adapts the shares of the pods in these slots to what they use, if the pods are others than before or a
    /// share is nearly used up. Returns how many established flows were deleted.
    pub fn sweep_flows(&mut self, slots: &BTreeSet<u32>) -> Result<u64, OpenError> {
        let are_others = *slots != self.sweeper.slots;
        if !are_others && !self.is_pressed() {
            return Ok(0);
        }
        let capacity = self.pinned.flow_capacity(FlowTable::Established)?;
        let mut swept = self.counted(slots);
        let epoch = epoch();
        let mut ages = self.ages(epoch)?;
        self.divide(capacity, &mut swept, &ages);
        let deleted = self.delete_excess(epoch, &swept, &mut ages)?;
        if are_others {
            let free = (0..MAX_SLOTS).filter(|slot| !slots.contains(slot));
            self.pinned.tables.shares.reset_free(free, capacity)?;
        }
        self.set_limits(capacity, &swept, &ages)?;
        self.sweeper = Sweeper {
            slots: slots.clone(),
            shares: swept,
        };
        Ok(deleted)
    }

    /// Whether a share is nearly used up, or something was refused since the last sweep.
    fn is_pressed(&self) -> bool {
        let table = &self.pinned.tables.shares;
        self.sweeper.shares.iter().any(|(share, last)| {
            let counts = table.counts(*share);
            let room = table.limits(*share).until.wrapping_sub(counts.established);
            counts.refused != last.counts.refused || room.cast_signed() < (last.limit / 4).cast_signed()
        })
    }

    /// Reads what the programs have counted. What they count from now on is in addition to the flows that are
    /// found then.
    fn counted(&self, slots: &BTreeSet<u32>) -> BTreeMap<u32, Swept> {
        let table = &self.pinned.tables.shares;
        let counted = |share| {
            let counts = table.counts(share);
            let swept = Swept {
                counts,
                ..Swept::default()
            };
            (share, swept)
        };
        slots.iter().copied().flat_map(shares_of).map(counted).collect()
    }

    /// Reads the ages of all established flows, by share.
    fn ages(&self, epoch: u32) -> Result<BTreeMap<u32, Ages>, OpenError> {
        let mut ages: BTreeMap<u32, Ages> = BTreeMap::new();
        let mut flows = self.pinned.flows(FlowTable::Established)?;
        let failed = |error| unreadable(FlowTable::Established, error);
        while let Some(batch) = flows.next_batch().map_err(failed)? {
            for flow in &batch {
                let (share, age) = share_and_age(flow, epoch);
                *ages.entry(share).or_default().0.entry(age).or_default() += 1;
            }
        }
        Ok(ages)
    }

    /// Computes the limits of established flows, and what the pods open in a window.
    fn divide(&self, capacity: u32, swept: &mut BTreeMap<u32, Swept>, ages: &BTreeMap<u32, Ages>) {
        let before = |share: &u32| self.sweeper.shares.get(share).copied().unwrap_or_default();
        let claim = |(share, found): (&u32, &Swept)| Claim {
            used: ages.get(share).map_or(0, Ages::used),
            refused: found.counts.refused[0].wrapping_sub(before(share).counts.refused[0]),
        };
        let claims: Vec<Claim> = swept.iter().map(claim).collect();
        for (((share, found), limit), claim) in swept.iter_mut().zip(shares(capacity, &claims)).zip(&claims) {
            found.limit = limit;
            found.is_refused = claim.refused > 0;
            let Counts { opened, refused, .. } = found.counts;
            let previous = before(share);
            found.opens = if refused[1] == previous.counts.refused[1] {
                // A demand is not forgotten at once: it comes and goes from one window to the next.
                opened.max(previous.opens - previous.opens / 8)
            } else {
                let limits = self.pinned.tables.shares.limits(*share);
                opened.max(limits.opens).saturating_mul(2)
            };
        }
    }

    /// Deletes the flows that their share has no room for, those first that were idle longest.
    fn delete_excess(
        &mut self,
        epoch: u32,
        swept: &BTreeMap<u32, Swept>,
        ages: &mut BTreeMap<u32, Ages>,
    ) -> Result<u64, OpenError> {
        let excess = |(share, ages): (&u32, &Ages)| Some((*share, ages.excess(swept.get(share)?)?));
        let mut excess: BTreeMap<u32, Excess> = ages.iter().filter_map(excess).collect();
        if excess.is_empty() {
            return Ok(0);
        }
        let config = self.pinned.config()?;
        let failed = |error| unreadable(FlowTable::Established, error);
        let mut flows = self.pinned.flows(FlowTable::Established)?;
        let mut deleted = 0;
        while let Some(batch) = flows.next_batch().map_err(failed)? {
            for flow in batch {
                let (share, age) = share_and_age(&flow, epoch);
                let is_excess = excess.get_mut(&share).is_some_and(|excess| takes(excess, age));
                if is_excess && sys::delete(&flows.map, &flow.0).map_err(failed)? {
                    self.forget(&flow, &config)?;
                    ages.entry(share).or_default().remove(age);
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    fn forget(&mut self, flow: &RawFlow, config: &Config) -> Result<(), OpenError> {
        self.clear_recent(&entry(FlowTable::Established, flow).key, config)
    }

    fn set_limits(
        &self,
        capacity: u32,
        swept: &BTreeMap<u32, Swept>,
        ages: &BTreeMap<u32, Ages>,
    ) -> Result<(), OpenError> {
        let claim = |swept: &Swept| Claim {
            used: swept.opens,
            refused: 0,
        };
        let claims: Vec<Claim> = swept.values().map(claim).collect();
        for ((share, swept), opens) in swept.iter().zip(shares(capacity / OPENED, &claims)) {
            let used = ages.get(share).map_or(0, Ages::used);
            let room = swept.limit.wrapping_sub(used);
            let until = swept.counts.established.wrapping_add(room);
            let limits = FlowLimits { until, opens };
            self.pinned.tables.shares.set_limits(*share, limits)?;
        }
        Ok(())
    }
}

/// Whether a flow of this age is one of those to delete.
const fn takes(excess: &mut Excess, age: u32) -> bool {
    if age != excess.older_than {
        return age > excess.older_than;
    }
    let takes = excess.as_old > 0;
    excess.as_old = excess.as_old.saturating_sub(1);
    takes
}

/// Ages are counted up to this.
const OLDEST: u32 = 1 << 10;

fn share_and_age(flow: &RawFlow, epoch: u32) -> (u32, u32) {
    let key = entry(FlowTable::Established, flow).key;
    let [slot, state] = [0, 4].map(|at| u32::from_ne_bytes(array(&flow.1, at)));
    let age = FlowValue { slot, state }.age(epoch);
    // A program may be in a later epoch already.
    let age = if age > u32::MAX / 4 { 0 } else { age.min(OLDEST) };
    (FlowShare::index(slot, key.protocol), age)
}

/// Returns the present epoch of the programs, or the next one just before it begins: the clock may be late by
/// one tick.
fn epoch() -> u32 {
    ((jiffies() + 1) >> EPOCH_SHIFT) as u32
}

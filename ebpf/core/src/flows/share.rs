//! The shares of pods in the tables of tracked flows.
//!
//! A pod's flows of one class (TCP, UDP, the rest) use no more than their [`FlowShare`], so that they leave
//! the room of others alone:
//!
//! | table | limit | beyond it |
//! |---|---|---|
//! | [`FlowMap::Established`] | number of flows | the flow stays in [`FlowMap::Unreplied`], where it continues in the same way |
//! | [`FlowMap::Unreplied`] | flows that are opened in one window of time, less those that leave the table | the packet that would open a flow passes to the stack |
//!
//! The first table evicts nothing. The second one evicts the entries that are idle longest, so a limit on the
//! rate of insertions is a lower bound of the time for which every entry stays, and nothing has to count how
//! many of a pod's entries are left.

use super::{FlowMap, FlowStore};
use crate::tables::{FlowKey, FlowLimits, FlowShare, FlowValue};

/// A word of a [`FlowShare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum FlowShareWord {
    /// [`FlowShare::limits`].
    Limits = 0,
    /// [`FlowShare::established`].
    Established = 1,
    /// [`FlowShare::opened`].
    Opened = 2,
    /// [`FlowShare::refused`].
    Refused = 3,
}

/// What became of a flow that was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Opening {
    /// It is in [`FlowMap::Unreplied`].
    Inserted = 0,
    /// The pod's share is used up.
    OverLimit = 1,
    /// The table refused the entry.
    Failed = 2,
}

impl Opening {
    /// Returns the value of a number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Inserted,
            1 => Self::OverLimit,
            _ => Self::Failed,
        }
    }
}

/// Adding this takes one away.
const MINUS_ONE: u64 = u64::MAX;
const REFUSED_ESTABLISHED: u64 = 1;
const REFUSED_OPENING: u64 = 1 << 32;

/// Inserts a flow into [`FlowMap::Unreplied`], if the pod's share allows that.
#[inline(always)]
pub fn open(key: &FlowKey, slot: u32, flows: &impl FlowStore) -> Opening {
    let share = FlowShare::index(slot, key.protocol);
    let flow = FlowValue::new(slot, flows.window());
    let opened = flows.share(share, FlowShareWord::Opened);
    let is_same_window = (opened >> 32) as u32 == flow.state;
    let count = if is_same_window { opened as u32 } else { 0 };
    if count >= FlowLimits::of(flows.share(share, FlowShareWord::Limits)).opens {
        flows.add_to_share(share, FlowShareWord::Refused, REFUSED_OPENING);
        return Opening::OverLimit;
    }
    if is_same_window {
        flows.add_to_share(share, FlowShareWord::Opened, 1);
    } else {
        flows.set_share(share, FlowShareWord::Opened, u64::from(flow.state) << 32 | 1);
    }
    if flows.insert(FlowMap::Unreplied, key, flow) {
        Opening::Inserted
    } else {
        Opening::Failed
    }
}

/// Moves a flow from [`FlowMap::Unreplied`] to [`FlowMap::Established`], if the pod's share allows that.
/// Returns whether it did.
#[inline(always)]
pub fn establish(key: &FlowKey, flow: FlowValue, flows: &impl FlowStore) -> bool {
    let share = FlowShare::index(flow.slot, key.protocol);
    let used = flows.share(share, FlowShareWord::Established) as u32;
    let until = FlowLimits::of(flows.share(share, FlowShareWord::Limits)).until;
    let has_room = until.wrapping_sub(used).cast_signed() > 0;
    let established = FlowValue::new(flow.slot, flows.epoch() as u32);
    // Insert before deleting: no packet may find neither entry.
    if has_room && flows.insert(FlowMap::Established, key, established) {
        flows.add_to_share(share, FlowShareWord::Established, 1);
        remove(FlowMap::Unreplied, key, flow, flows);
        return true;
    }
    flows.add_to_share(share, FlowShareWord::Refused, REFUSED_ESTABLISHED);
    false
}

/// Deletes an entry as it was found, and gives its room back. Returns whether it existed.
#[inline(always)]
pub(super) fn remove(map: FlowMap, key: &FlowKey, flow: FlowValue, flows: &impl FlowStore) -> bool {
    if !flows.delete(map, key) {
        return false;
    }
    let share = FlowShare::index(flow.slot, key.protocol);
    match map {
        FlowMap::Established => flows.add_to_share(share, FlowShareWord::Established, MINUS_ONE),
        FlowMap::Unreplied => {
            let opened = flows.share(share, FlowShareWord::Opened);
            // What was inserted in an earlier window does not count in this one.
            if (opened >> 32) as u32 == flow.state & !FlowValue::ANSWERED && opened as u32 != 0 {
                flows.add_to_share(share, FlowShareWord::Opened, MINUS_ONE);
            }
        }
        FlowMap::Stack => {}
    }
    true
}

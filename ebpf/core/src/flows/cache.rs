//! The cache [`crate::tables::maps::RECENT`]: for most packets one array look-up replaces those in the hash
//! tables.
//!
//! Each element is the tag of the flow that used it last:
//!
//! | bits | |
//! |---|---|
//! | 2 to 63 | hash of the flow and of the epoch in which it was seen |
//! | 0 and 1 | 3: both ends have confirmed the flow; 2: the flow is in [`FlowMap::Unreplied`]; 1: it is there, and the pod has answered; 0: the element is unused |
//!
//! A tag is valid for one epoch. So each flow in use is looked up in its table once per epoch, which keeps
//! the LRU from evicting it and the agent from deleting it, and a race with a deletion has no lasting effect.
//! A confirmed flow may be in [`FlowMap::Unreplied`], when the pod has no more room in the other table. A tag
//! of the previous epoch without an entry in a table shows a flow that was evicted while it was in use: it is
//! inserted again.
//!
//! The tag of an answered flow is for replies alone: the next packet to the pod has to look the flow up,
//! which then moves to [`FlowMap::Established`].

use super::{FlowMap, FlowStore, Opening};
use crate::{
    events::FlowEvent,
    tables::{FlowKey, FlowValue},
};

/// Returns a keyed hash of a flow. Without the seed, an attacker cannot choose flows that share a cache slot.
/// Two flows with the same hash harm only each other: packets of the second take the path of the first, which
/// its rule allows.
///
/// The words are mixed in parallel, not one after the other: each packet computes this hash.
#[inline(always)]
pub fn hash(key: &FlowKey, seed: u64) -> u64 {
    let ports = u64::from(key.protocol) << 32 | u64::from(key.remote_port) << 16 | u64::from(key.pod_port);
    let mixed = mix(key.remote.high, seed)
        .wrapping_add(mix(key.remote.low, seed.rotate_left(13)).rotate_left(11))
        .wrapping_add(mix(key.pod.high, seed.rotate_left(26)).rotate_left(23))
        .wrapping_add(mix(key.pod.low, seed.rotate_left(39)).rotate_left(37))
        .wrapping_add(mix(ports, seed.rotate_left(52)).rotate_left(49));
    let mixed = (mixed ^ seed) ^ mixed >> 29;
    let mixed = mixed.wrapping_mul(FACTORS[1]);
    mixed ^ mixed >> 32
}

/// A permutation: the upper half of the word affects the lower half of the result.
#[inline(always)]
const fn mix(word: u64, key: u64) -> u64 {
    let product = (word ^ key).wrapping_mul(FACTORS[0]);
    product ^ product >> 32
}

/// Odd, with about half of the bits set: 2⁶⁴ divided by the golden ratio, and 2⁶⁴ × (√2 - 1).
pub(super) const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909];

/// Returns the index in [`crate::tables::maps::RECENT`] of a flow with this [`hash`].
#[inline(always)]
pub const fn cache_index(hash: u64, mask: u32) -> u32 {
    (hash >> 40) as u32 & mask
}

/// What the tables know about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowState {
    /// Both ends have confirmed the flow.
    Established,
    /// The flow was in [`FlowMap::Unreplied`] in this epoch.
    Unreplied,
    /// The flow is not in [`FlowMap::Established`].
    Unknown,
}

/// A flow's element of the cache, and the tags that the flow writes there.
#[derive(Clone, Copy)]
pub(super) struct CacheSlot {
    index: u32,
    tag: u64,
    previous_tag: u64,
}

const ESTABLISHED: u64 = 1;
/// Differs from the tag of an unreplied flow by two bits.
const ANSWERED: u64 = 3;
const STATE: u64 = 3;

impl CacheSlot {
    /// Returns the slot of a flow, with the tags of this epoch and of the previous one.
    #[inline(always)]
    pub(super) fn of(key: &FlowKey, flows: &impl FlowStore) -> Self {
        let hash = hash(key, flows.seed());
        let now = hash.wrapping_add(flows.epoch().wrapping_mul(FACTORS[0]));
        Self {
            index: cache_index(hash, flows.recent_mask()),
            tag: now & !3 | 2,
            previous_tag: now.wrapping_sub(FACTORS[0]) & !3 | 2,
        }
    }

    /// Whether the tag alone shows that the flow is tracked.
    #[inline(always)]
    pub(super) fn is_recent(&self, flows: &impl FlowStore) -> bool {
        flows.recent(self.index) & !ESTABLISHED == self.tag
    }

    /// Looks up the flow by its tag, then in [`FlowMap::Established`]. `slot`: that of the flow, should it
    /// have to be inserted again.
    #[inline(always)]
    pub(super) fn state(&self, key: &FlowKey, slot: u32, flows: &impl FlowStore) -> FlowState {
        let seen = flows.recent(self.index);
        if seen == self.tag | ESTABLISHED {
            return FlowState::Established;
        }
        if seen == self.tag {
            return FlowState::Unreplied;
        }
        if self.is_established(key, flows) {
            return FlowState::Established;
        }
        if seen == self.previous_tag | ESTABLISHED {
            restore(key, slot, flows);
        }
        FlowState::Unknown
    }

    /// Looks up the flow in [`FlowMap::Established`]. If it is there, it is in use from now on.
    #[inline(always)]
    pub(super) fn is_established(&self, key: &FlowKey, flows: &impl FlowStore) -> bool {
        let Some(flow) = flows.flow(FlowMap::Established, key) else {
            return false;
        };
        let now = FlowValue::new(flow.slot, flows.epoch() as u32);
        if flow != now {
            flows.set_state(FlowMap::Established, key, now.state);
        }
        self.set_established(flows);
        true
    }

    /// Moves a flow to [`FlowMap::Established`] that both ends have confirmed. Returns whether there is room
    /// for it. If not, it continues where it is, and the next packet in another epoch tries again.
    #[inline(always)]
    pub(super) fn confirm(&self, key: &FlowKey, flow: FlowValue, flows: &impl FlowStore) -> bool {
        let moved = flows.establish(key, flow);
        if moved {
            flows.count(FlowEvent::Established);
        }
        self.set_established(flows);
        moved
    }

    /// Whether the tag shows that the pod has answered, and that the remote host has not sent anything since.
    #[inline(always)]
    pub(super) fn is_answered(&self, flows: &impl FlowStore) -> bool {
        flows.recent(self.index) == self.tag ^ ANSWERED
    }

    /// Writes the tag of a flow that the pod has answered.
    #[inline(always)]
    pub(super) fn set_answered(&self, flows: &impl FlowStore) {
        flows.set_recent(self.index, self.tag ^ ANSWERED);
    }

    /// Writes the tag of a flow that both ends have confirmed.
    #[inline(always)]
    pub(super) fn set_established(&self, flows: &impl FlowStore) {
        flows.set_recent(self.index, self.tag | ESTABLISHED);
    }

    /// Writes the tag of a flow in [`FlowMap::Unreplied`].
    #[inline(always)]
    pub(super) fn set_unreplied(&self, flows: &impl FlowStore) {
        flows.set_recent(self.index, self.tag);
    }

    /// Deletes the flow's tag. Returns whether it was there.
    #[inline(always)]
    pub(super) fn clear(&self, flows: &impl FlowStore) -> bool {
        let seen = flows.recent(self.index) | STATE;
        let found = seen == self.tag | STATE || seen == self.previous_tag | STATE;
        if found {
            flows.set_recent(self.index, 0);
        }
        found
    }
}

/// Inserts a flow again that was evicted while it was in use. The table that evicts is the unreplied one.
#[inline(always)]
fn restore(key: &FlowKey, slot: u32, flows: &impl FlowStore) {
    if flows.flow(FlowMap::Unreplied, key).is_none() && flows.open(key, slot) == Opening::Inserted {
        flows.count(FlowEvent::Restored);
    }
}

//! [`crate::tables::maps::RECENT`]: for most packets, one look-up in an array in place of those in hashes.
//!
//! An element is the tag of the flow that was last seen in its place:
//!
//! | bits | |
//! |---|---|
//! | 2 to 63 | hash of the flow, and the epoch in which it was seen |
//! | 1 | set: an element without a flow is zero |
//! | 0 | whether the flow is in [`Table::Established`]; otherwise in [`Table::Unreplied`] |
//!
//! A tag holds for one epoch. So each flow in use is looked up in its table now and then, which keeps it from being evicted;
//! a race with a deletion does no harm for long; and a tag of the epoch before, without an entry, tells a flow that was evicted
//! while it was in use: [`State::Established`] again, and put back.

use super::{Flows, Table};
use crate::{tables::FlowKey, verdict::FlowEvent};

/// A keyed hash of a flow. Who does not know the seed cannot choose flows that share a place. Two flows with one hash do no
/// harm but to themselves: packets of the second one take the way of the first, which its rule allows.
///
/// The words are mixed side by side, not one after the other: it is asked for every packet.
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

/// A permutation in which the upper half of a word tells on the lower one.
#[inline(always)]
const fn mix(word: u64, key: u64) -> u64 {
    let product = (word ^ key).wrapping_mul(FACTORS[0]);
    product ^ product >> 32
}

/// Odd, with about as many bits set as not: 2⁶⁴ divided by the golden ratio, and 2⁶⁴ times √2 - 1.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909];

/// Where a flow with this [`hash`] has its element.
#[inline(always)]
pub const fn place(hash: u64, mask: u32) -> u32 {
    (hash >> 40) as u32 & mask
}

/// What is known about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is in [`Table::Established`].
    Established,
    /// It was in [`Table::Unreplied`] a moment ago.
    Unreplied,
    /// It is not in [`Table::Established`].
    Unknown,
}

/// A flow's place, and its tag now.
#[derive(Clone, Copy)]
pub(super) struct Trail {
    place: u32,
    young: u64,
    before: u64,
}

const ESTABLISHED: u64 = 1;

impl Trail {
    #[inline(always)]
    pub(super) fn of(key: &FlowKey, flows: &impl Flows) -> Self {
        let hash = hash(key, flows.seed());
        let now = hash.wrapping_add(flows.epoch().wrapping_mul(FACTORS[0]));
        Self {
            place: place(hash, flows.recent_mask()),
            young: now & !3 | 2,
            before: now.wrapping_sub(FACTORS[0]) & !3 | 2,
        }
    }

    /// Whether the tag alone says that the flow is ours.
    #[inline(always)]
    pub(super) fn is_recent(&self, flows: &impl Flows) -> bool {
        flows.recent(self.place) & !ESTABLISHED == self.young
    }

    /// What is known about the flow, first of all by its tag.
    #[inline(always)]
    pub(super) fn state(&self, key: &FlowKey, slot: u32, flows: &impl Flows) -> State {
        let seen = flows.recent(self.place);
        if seen == self.young | ESTABLISHED {
            return State::Established;
        }
        if seen == self.young {
            return State::Unreplied;
        }
        if flows.slot(Table::Established, key).is_none() && !self.restore(seen, key, slot, flows) {
            return State::Unknown;
        }
        self.establish(flows);
        State::Established
    }

    /// Puts back what was evicted while it was in use.
    #[inline(always)]
    fn restore(&self, seen: u64, key: &FlowKey, slot: u32, flows: &impl Flows) -> bool {
        let evicted = seen == self.before | ESTABLISHED && flows.insert(Table::Established, key, slot);
        if evicted {
            flows.note(FlowEvent::Restored);
        }
        evicted
    }

    /// Notes a flow of [`Table::Established`].
    #[inline(always)]
    pub(super) fn establish(&self, flows: &impl Flows) {
        flows.set_recent(self.place, self.young | ESTABLISHED);
    }

    /// Notes a flow of [`Table::Unreplied`].
    #[inline(always)]
    pub(super) fn note_young(&self, flows: &impl Flows) {
        flows.set_recent(self.place, self.young);
    }

    /// Takes the flow's tag away; whether it was there.
    #[inline(always)]
    pub(super) fn clear(&self, flows: &impl Flows) -> bool {
        let seen = flows.recent(self.place) & !ESTABLISHED;
        let found = seen == self.young || seen == self.before;
        if found {
            flows.set_recent(self.place, 0);
        }
        found
    }
}

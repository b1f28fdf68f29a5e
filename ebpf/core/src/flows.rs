//! Flow tracking: decides which connections bypass the stack in both directions.
//!
//! The rule: replies leave a pod by the path on which the last opening packet reached it. A stack that tracks
//! connections or translates addresses must see both directions of a flow, or neither of them. So only the
//! tables of this module decide: neither port numbers nor the entries of conntrack do.
//!
//! ```text
//!                    to the pod                                             from the pod
//!  NIC ─▶ track_inbound ─▶ tracked ──────────▶ pod ─▶ track_reply ─▶ tracked ──────────▶ NIC
//!               └────────▶ stack ─▶ stack_delivered ─┘      └──────▶ stack ─▶ stack_sent ─┘
//! ```
//!
//! [`track_inbound`] takes the opening packet of a flow and inserts the flow into [`FlowMap::Unreplied`]. It
//! moves to [`FlowMap::Established`] when both ends have confirmed it: with the pod's first packet that is
//! neither a SYN-ACK nor a refusal ([`track_reply`]), which proves that the remote host has answered the
//! SYN-ACK; of datagrams with the first one from the remote host after the pod's answer. So packets with
//! forged sources establish nothing. The flow ends when the stack delivers an opening packet
//! ([`stack_delivered`]), or when the pod sends one. Datagrams have no opening packet: the
//! sender of the first datagram opens the flow. If that is the pod, through the stack, [`stack_sent`] inserts
//! the flow into [`FlowMap::Stack`], with the addresses after the stack's translation (NAT).
//!
//! Rules are about connections that others open to the pod. Those that the pod opens through the stack are in
//! a table of their own, which is asked where a rule would drop a packet ([`is_opened_by_pod`]).

mod cache;
mod direction;
mod fragments;
mod inbound;
mod opened;
mod packet;
mod quoted;
mod reply;
mod share;
mod stack;
mod view;

pub use cache::{cache_index, hash};
pub use direction::Direction;
pub use fragments::{fragment_key, inbound_fragment_key};
pub use inbound::{DrainScope, drains, is_recent, track_inbound};
pub use opened::{
    is_noted, is_opened_by_pod, may_be_opened_by_pod, note_delivered, note_heard, note_preexisting, note_sent,
};
pub use packet::{FlowPacket, PacketRole};
pub use reply::{ReplyDecision, track_reply};
pub use share::{FlowShareWord, Opening, establish, open};
pub use stack::{stack_delivered, stack_sent};
pub use view::{PackedHeaders, PackedView, TransportView};

use crate::{
    events::FlowEvent,
    tables::{FlowKey, FlowValue, OPENED_WAYS},
};

/// A table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowMap {
    /// [`crate::tables::maps::ESTABLISHED`]: both ends have confirmed the flow (conntrack's `[ASSURED]`).
    Established,
    /// [`crate::tables::maps::UNREPLIED`]: not yet, or there is no room for it in the other table.
    Unreplied,
    /// [`crate::tables::maps::STACK`]: the kernel stack tracks the flow.
    Stack,
}

/// Access to what is noted of the connections that pods opened. Other CPUs change it at the same time.
pub trait OpenedStore {
    /// Returns [`crate::tables::Config::seed`].
    fn seed(&self) -> u64;

    /// Returns `value` unchanged. The verifier knows nothing about it afterwards.
    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        value
    }

    /// Returns the number of the current epoch: the clock's ticks (jiffies) divided by 2 to the power of
    /// [`EPOCH_SHIFT`].
    fn epoch(&self) -> u64;

    /// Returns an element of [`crate::tables::maps::OPENED`].
    fn opened(&self, set: u32) -> Option<[u64; OPENED_WAYS]>;

    /// Overwrites a word of an element of [`crate::tables::maps::OPENED`].
    fn set_opened(&self, set: u32, way: u32, word: u64);

    /// Returns an element of [`crate::tables::maps::OPENED_TAGS`], or zero if it does not exist.
    fn opened_tags(&self, index: u32) -> u64;

    /// Overwrites a byte of an element of [`crate::tables::maps::OPENED_TAGS`].
    fn set_opened_tag(&self, index: u32, byte: u32, tag: u8);

    /// Returns an element of [`crate::tables::maps::HEARD`], or zero if it does not exist.
    fn heard(&self, index: u32) -> u64;

    /// Overwrites an element of [`crate::tables::maps::HEARD`].
    fn set_heard(&self, index: u32, word: u64);
}

/// Ticks of the kernel's clock (jiffies) in an epoch, as a power of two: 4 s to 41 s. An element of
/// [`crate::tables::maps::RECENT`] is valid for one epoch. Reading that clock is one load.
pub const EPOCH_SHIFT: u32 = 12;

/// Access to the tables of flows. Other CPUs change them at the same time, the kernel evicts entries, and
/// insertions can fail.
pub trait FlowStore: OpenedStore {
    /// Returns [`crate::tables::Config::recent_mask`].
    fn recent_mask(&self) -> u32;

    /// Returns an element of [`crate::tables::maps::RECENT`], or zero if it does not exist.
    fn recent(&self, index: u32) -> u64;

    /// Overwrites an element of [`crate::tables::maps::RECENT`].
    fn set_recent(&self, index: u32, word: u64);

    /// Returns the number of the current window of [`crate::tables::FlowShare::opened`]: about a second.
    fn window(&self) -> u32;

    /// Looks up a flow. The values in [`FlowMap::Stack`] have no meaning.
    fn flow(&self, map: FlowMap, key: &FlowKey) -> Option<FlowValue>;

    /// Overwrites [`FlowValue::state`] of an entry, if it exists.
    fn set_state(&self, map: FlowMap, key: &FlowKey, state: u32);

    /// Inserts an entry, unless it exists. Returns whether that succeeded.
    fn insert(&self, map: FlowMap, key: &FlowKey, flow: FlowValue) -> bool;

    /// Deletes an entry. Returns whether it existed.
    fn delete(&self, map: FlowMap, key: &FlowKey) -> bool;

    /// Returns a word of an element of [`crate::tables::maps::FLOW_SHARES`], or zero if it does not exist.
    fn share(&self, index: u32, word: FlowShareWord) -> u64;

    /// Overwrites a word of an element of [`crate::tables::maps::FLOW_SHARES`].
    fn set_share(&self, index: u32, word: FlowShareWord, value: u64);

    /// Adds to a word of an element of [`crate::tables::maps::FLOW_SHARES`], atomically and modulo 2⁶⁴.
    fn add_to_share(&self, index: u32, word: FlowShareWord, more: u64);

    /// Calls [`open`].
    #[inline(always)]
    fn open(&self, key: &FlowKey, slot: u32) -> Opening
    where
        Self: Sized,
    {
        open(key, slot, self)
    }

    /// Calls [`establish`].
    #[inline(always)]
    fn establish(&self, key: &FlowKey, flow: FlowValue) -> bool
    where
        Self: Sized,
    {
        establish(key, flow, self)
    }

    /// Counts an event.
    fn count(&self, event: FlowEvent);
}

/// Whether a flow is tracked.
#[inline(always)]
fn is_tracked(key: &FlowKey, flows: &impl FlowStore) -> bool {
    let tables = [FlowMap::Established, FlowMap::Unreplied];
    tables.into_iter().any(|map| flows.flow(map, key).is_some())
}

/// Stops tracking a flow. Returns whether it was tracked. Looks up first: a deletion takes a lock, and most
/// packets have nothing to delete.
#[inline(always)]
fn untrack(key: &FlowKey, flows: &impl FlowStore) -> bool {
    let mut found = false;
    for map in [FlowMap::Established, FlowMap::Unreplied] {
        if let Some(flow) = flows.flow(map, key) {
            found |= share::remove(map, key, flow, flows);
        }
    }
    // Last, and always: another CPU that saw the entry before its deletion may have just written the cache
    // slot.
    cache::CacheSlot::of(key, flows).clear(flows) | found
}

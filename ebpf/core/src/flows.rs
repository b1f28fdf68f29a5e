//! Whose a packet is: ours, which goes past the stack both ways, or the stack's.
//!
//! The owner rule: the way the last opening packet reached a pod is the way its replies leave. A stack that tracks
//! connections, or translates addresses, must see both directions of a flow or neither; so nothing but this module's own
//! tables decides, neither ports nor what a stack believes.
//!
//! ```text
//!                  to the pod                                      from the pod
//!  NIC ─▶ inward ─▶ ours ──────────────▶ pod ─▶ outward ─▶ ours ──────────────▶ NIC
//!            └────▶ stack ─▶ delivered ──┘          └────▶ stack ─▶ departed ───┘
//! ```
//!
//! A flow begins in [`Table::Unreplied`] when [`inward`] takes its opening packet, moves to [`Table::Established`] when the pod has
//! answered ([`outward`]), and ends when the stack delivers an opening packet ([`delivered`]), or the pod sends one.
//! Datagrams have no opening packet: who sent the first one opened the flow, and where it was the pod, through the stack,
//! [`departed`] notes it in [`Table::Stack`], with the addresses that the stack translated it to.

mod inward;
mod outward;
mod quoted;
mod recent;
mod segment;
mod stack;
mod subject;

pub use inward::{Carried, carries, inward, is_recent};
pub use outward::{Outward, fragment_key, outward};
pub use recent::{hash, place};
pub use segment::{Place, Segment, Shape};
pub use stack::{delivered, departed};
pub use subject::{Role, Subject, Way};

use crate::{tables::FlowKey, verdict::FlowEvent};

/// A table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// [`crate::tables::maps::ESTABLISHED`].
    Established,
    /// [`crate::tables::maps::UNREPLIED`].
    Unreplied,
    /// [`crate::tables::maps::STACK`].
    Stack,
}

/// What is remembered about flows. Others change it at the same time, entries are evicted, and insertions fail.
pub trait Flows {
    /// [`crate::tables::Config::seed`].
    fn seed(&self) -> u64;

    /// [`crate::tables::Config::recent_mask`].
    fn recent_mask(&self) -> u32;

    /// Counts some seconds: what [`crate::tables::maps::RECENT`] says holds for one of them.
    fn epoch(&self) -> u64;

    /// An element of [`crate::tables::maps::RECENT`]; zero if there is none.
    fn recent(&self, place: u32) -> u64;

    /// Overwrites one.
    fn set_recent(&self, place: u32, word: u64);

    /// The slot in a flow's entry.
    fn slot(&self, table: Table, key: &FlowKey) -> Option<u32>;

    /// Makes an entry, or overwrites it; whether that succeeded.
    fn insert(&self, table: Table, key: &FlowKey, slot: u32) -> bool;

    /// Deletes an entry; whether there was one.
    fn delete(&self, table: Table, key: &FlowKey) -> bool;

    /// Counts something that happened.
    fn note(&self, event: FlowEvent);
}

/// Forgets a flow of ours; whether there was one. Asks first, because a deletion locks, and most packets have nothing to
/// delete.
#[inline(always)]
fn forget(key: &FlowKey, flows: &impl Flows) -> bool {
    let mut found = false;
    for table in [Table::Established, Table::Unreplied] {
        if flows.slot(table, key).is_some() {
            found |= flows.delete(table, key);
        }
    }
    // Last, and in any case: whoever saw the entry before it was deleted may have just noted it here.
    recent::Trail::of(key, flows).clear(flows) | found
}

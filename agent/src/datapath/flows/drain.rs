//! Drains the flow tables before the programs of the reply path are detached: the stack takes over each flow
//! with its next packet.
//!
//! At this point no program redirects. While a pod's word has no block, the program that sees what the stack
//! delivers deletes the flow of each packet. Until then, the replies of that flow bypass the stack.

use std::{
    thread,
    time::{Duration, Instant},
};

use xdp_core::tables::{MAX_SLOTS, SlotWord, maps};

use crate::datapath::{
    error::OpenError,
    flows::FlowTable,
    kernel::{pins::Pins, sys},
    pinned::Pinned,
    tables::{
        PinnedTables, {self},
    },
};

/// Draining ends when no flow was deleted for this long: the remaining flows are quiet.
const QUIET: Duration = Duration::from_secs(1);
/// Limits how long `uninstall` waits.
const LONGEST: Duration = Duration::from_secs(10);
/// Poll interval: the kernel does not report deleted elements.
const POLL: Duration = Duration::from_millis(100);

/// Drains all flows. Returns when none is left, or when those that are left are quiet.
pub(in crate::datapath) fn drain(pins: &Pins) -> Result<(), OpenError> {
    if tables::check_shapes(pins)? < tables::MAPS {
        return Ok(());
    }
    let pinned = Pinned::new(pins.clone(), PinnedTables::open(pins)?);
    let mut left = flows(&pinned)?;
    if left == 0 {
        return Ok(());
    }
    for slot in 0..MAX_SLOTS {
        let words = &pinned.tables.memory.words;
        let stored = words.store(slot, SlotWord::EMPTY.0);
        stored.map_err(|error| OpenError::pin("write", &pins.map(maps::SLOTS), error))?;
    }
    sys::fence().map_err(OpenError::Fence)?;
    let (begin, mut last) = (Instant::now(), Instant::now());
    while left > 0 && last.elapsed() < QUIET && begin.elapsed() < LONGEST {
        thread::sleep(POLL);
        let now = flows(&pinned)?;
        if now != left {
            (left, last) = (now, Instant::now());
        }
    }
    Ok(())
}

fn flows(pinned: &Pinned) -> Result<u64, OpenError> {
    Ok(pinned.flow_count(FlowTable::Established)? + pinned.flow_count(FlowTable::Unreplied)?)
}

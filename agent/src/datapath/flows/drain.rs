//! Before the programs of the reply path go: their flows become the stack's, one packet each.
//!
//! Nothing redirects any more. Without a block behind a pod's word, the program that sees what the stack delivers lets go
//! of the flow of any packet; replies leave past the stack until then.

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

/// Flows from which nothing comes within this time are quiet, and are left.
const QUIET: Duration = Duration::from_secs(1);
/// Somebody waits for the end.
const LONGEST: Duration = Duration::from_secs(10);
/// The kernel tells nobody when an element goes.
const LOOK: Duration = Duration::from_millis(100);

/// Hands over what flows there are; returns when none is left, or those that are left are quiet.
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
        let emptied = words.store(slot, SlotWord::EMPTY.0);
        emptied.map_err(|error| OpenError::pin("write", &pins.map(maps::SLOTS), error))?;
    }
    sys::fence().map_err(OpenError::Fence)?;
    let (begin, mut last) = (Instant::now(), Instant::now());
    while left > 0 && last.elapsed() < QUIET && begin.elapsed() < LONGEST {
        thread::sleep(LOOK);
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

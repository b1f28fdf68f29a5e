//! The array of shares, as the programs see it.

use std::sync::atomic::AtomicU64;

use xdp_core::{
    flows::FlowShareWord,
    tables::{FLOW_CLASSES, FLOW_SHARES, FlowLimits, FlowShare, MAX_SLOTS, maps},
};

use crate::datapath::{
    error::OpenError,
    kernel::{mmap_array::MmapArray, pins::Pins},
};

const WORDS: u32 = (size_of::<FlowShare>() / size_of::<u64>()) as u32;

/// The limit of a slot without a pod, as a part of the capacity.
const FIRST_LIMIT: u32 = 8;
/// All flows that may be opened in a window, as a part of the capacity. An LRU table evicts no entry before
/// half of its capacity was inserted after it, and that takes two windows.
pub(super) const OPENED: u32 = 4;
/// Flows without a slot that may be inserted again in a window, as a part of the capacity.
const RESTORED: u32 = 64;

/// The shares of all slots.
pub(in crate::datapath) struct ShareTable(MmapArray<AtomicU64>);

/// What programs count of a share. Of all but `opened`, only differences have a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Established flows.
    pub(super) established: u32,
    /// Flows that were opened in the last window in which any was.
    pub(super) opened: u32,
    /// Refused insertions of established flows, and of opened ones.
    pub(super) refused: [u32; 2],
}

impl ShareTable {
    pub(in crate::datapath) fn open(pins: &Pins) -> Result<Self, OpenError> {
        MmapArray::open(pins, maps::FLOW_SHARES, FLOW_SHARES * WORDS).map(Self)
    }

    fn load(&self, share: u32, word: FlowShareWord) -> u64 {
        self.0.load(share * WORDS + word as u32).unwrap_or(0)
    }

    pub(super) fn counts(&self, share: u32) -> Counts {
        let refused = self.load(share, FlowShareWord::Refused);
        Counts {
            established: self.load(share, FlowShareWord::Established) as u32,
            opened: self.load(share, FlowShareWord::Opened) as u32,
            refused: [refused as u32, (refused >> 32) as u32],
        }
    }

    pub(super) fn limits(&self, share: u32) -> FlowLimits {
        FlowLimits::of(self.load(share, FlowShareWord::Limits))
    }

    pub(super) fn set_limits(&self, share: u32, limits: FlowLimits) -> Result<(), OpenError> {
        let stored = self
            .0
            .store(share * WORDS + FlowShareWord::Limits as u32, limits.word());
        stored.map_err(|source| OpenError::Flows {
            map: maps::FLOW_SHARES,
            source,
        })
    }

    /// Sets the limits that hold before the first sweep, if there are none.
    pub(in crate::datapath) fn initialize(&self, capacity: u32) -> Result<(), OpenError> {
        if self.limits(0) == FlowLimits::default() {
            self.reset_free(0..MAX_SLOTS, capacity)?;
            self.reset([MAX_SLOTS], 0, capacity / RESTORED)?;
        }
        Ok(())
    }

    /// Sets the limits of slots without a pod: the next one does not have to wait for a sweep.
    pub(super) fn reset_free(
        &self,
        slots: impl IntoIterator<Item = u32>,
        capacity: u32,
    ) -> Result<(), OpenError> {
        self.reset(slots, capacity / FIRST_LIMIT, capacity / FIRST_LIMIT / OPENED)
    }

    /// Sets limits: how many more established flows there may be, and how many may be opened in a window.
    pub(super) fn reset(
        &self,
        slots: impl IntoIterator<Item = u32>,
        established: u32,
        opens: u32,
    ) -> Result<(), OpenError> {
        for share in slots.into_iter().flat_map(shares_of) {
            let until = self.counts(share).established.wrapping_add(established);
            self.set_limits(share, FlowLimits { until, opens })?;
        }
        Ok(())
    }
}

/// Lists the shares of a slot.
pub(super) fn shares_of(slot: u32) -> impl Iterator<Item = u32> {
    (0..FLOW_CLASSES).map(move |class| slot * FLOW_CLASSES + class)
}

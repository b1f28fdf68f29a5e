//! Plain old data: the types that the agent and the programs share, for aya and for mapped memory.
#![expect(unsafe_code, reason = "promises about the layout of the shared types")]

use xdp_core::tables::{
    ActionRecord, Address, Class, Config, Count, FailureKey, Label, LimitSet, NicEntry, OpenedSet, PodBlock,
    Ports, Receiver, RuleCounters, RuleText, SourcesV4, SourcesV6, Station,
};

/// A value of the shared tables, for aya. The wrapper exists because both aya's trait and the types are
/// foreign here.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(in crate::datapath) struct Plain<T>(pub(in crate::datapath) T);

/// Types that programs and the agent share as bytes.
///
/// # Safety
/// `repr(C)`, no padding, every bit pattern valid.
pub(in crate::datapath) unsafe trait PlainOldData: Copy + 'static {}

// SAFETY: the wrapper is transparent, and `PlainOldData` promises what `aya::Pod` requires.
unsafe impl<T: PlainOldData> aya::Pod for Plain<T> {}

macro_rules! plain_old_data {
    ($($name:ty),+) => { $(
        // SAFETY: integers only, and xdp-core asserts the sizes that leave no room for padding.
        unsafe impl PlainOldData for $name {}
    )+ };
}

plain_old_data!(
    ActionRecord,
    Address,
    Class,
    Config,
    Count,
    FailureKey,
    Label,
    LimitSet,
    NicEntry,
    OpenedSet,
    PodBlock,
    Ports,
    Receiver,
    RuleCounters,
    RuleText,
    SourcesV4,
    SourcesV6,
    Station
);

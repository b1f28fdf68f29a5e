//! How the shared tables' types cross the border to the kernel.
#![expect(unsafe_code, reason = "promises about the layout of the shared types")]

use xdp_core::tables::{
    ActionRecord, Address, Class, Config, Count, FailureKey, Label, LimitSet, PodBlock, Ports, RuleCounters,
    RuleText, SourcesV4, SourcesV6,
};

/// A value of the shared tables, for aya. A wrapper, because neither aya's trait nor the types are ours to join.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(in crate::datapath) struct Plain<T>(pub(in crate::datapath) T);

/// # Safety
/// `repr(C)`, no padding, every bit pattern valid.
pub(in crate::datapath) unsafe trait PlainOldData: Copy + 'static {}

// SAFETY: the wrapper is transparent, `PlainOldData` is what aya asks for.
unsafe impl<T: PlainOldData> aya::Pod for Plain<T> {}

macro_rules! plain {
    ($($name:ty),+) => { $(
        // SAFETY: integers only, and xdp-core asserts the sizes that leave no room for padding.
        unsafe impl PlainOldData for $name {}
    )+ };
}

plain!(
    ActionRecord,
    Address,
    Class,
    Config,
    Count,
    FailureKey,
    Label,
    LimitSet,
    PodBlock,
    Ports,
    RuleCounters,
    RuleText,
    SourcesV4,
    SourcesV6
);

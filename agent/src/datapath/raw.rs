//! How the shared tables' types cross aya's maps.
#![expect(unsafe_code, reason = "promises to aya about the layout of the shared types")]

use xdp_core::tables::{Address, Block, Config, Count, FailureKey, Label, RuleCounters};

/// A value of the shared tables, for aya. A wrapper, because neither aya's trait nor the types are ours to join.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Raw<T>(pub(super) T);

/// # Safety
/// `repr(C)`, no padding, every bit pattern valid.
pub(super) unsafe trait Plain: Copy + 'static {}

// SAFETY: the wrapper is transparent, `Plain` is what aya asks for.
unsafe impl<T: Plain> aya::Pod for Raw<T> {}

macro_rules! plain {
    ($($name:ty),+) => { $(
        // SAFETY: integers only, and xdp-core asserts the sizes that leave no room for padding.
        unsafe impl Plain for $name {}
    )+ };
}

plain!(Address, Block, Config, Count, FailureKey, Label, RuleCounters);

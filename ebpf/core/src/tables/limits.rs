//! Rate limits: how much time the packets that were let through have used up.
//!
//! The generic cell rate algorithm: a limit is one time, at which everything let through so far is paid for. A packet is
//! let through when that time, with its own interval added, lies at most a window ahead of now. Only packets that are let
//! through change it, so a flood that is dropped shares a cache line between CPUs without writing to it.
//!
//! Times are in ticks of 1/256 ns of `CLOCK_MONOTONIC`, wrapping: two years of uptime fit, and differences are right
//! beyond.

/// Ticks in a nanosecond, as a shift.
pub const TICK_SHIFT: u32 = 8;

/// Limits of sources that share a set: one cache line.
pub const WAYS: usize = 4;

/// Some sources' limits. A way whose time is past is free: nothing is lost by giving it to another source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LimitSet {
    /// Which rule and source, as a hash with [`super::Config::seed`]; zero: nobody.
    pub owner: [u64; WAYS],
    /// When its packets are paid for.
    pub until: [u64; WAYS],
}

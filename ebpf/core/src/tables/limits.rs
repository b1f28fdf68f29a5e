//! Rate limits, by the generic cell rate algorithm (GCRA).
//!
//! A limit is one time: until then, the admitted packets use up the capacity. A packet is admitted if that
//! time plus the packet's interval is at most a window ahead of now. Only admitted packets change the time,
//! so the CPUs share the cache line of a flood that is dropped without writing to it.
//!
//! Times are wrapping ticks of 1/256 ns of `CLOCK_MONOTONIC`. They wrap after two years of uptime;
//! differences stay right.

/// Ticks per nanosecond, as a power of two.
pub const TICK_SHIFT: u32 = 8;

/// Limits of sources in a set: one cache line.
pub const WAYS: usize = 4;

/// The limits of some sources. A way whose time is past is free: another source may claim it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LimitSet {
    /// Rule and source, as a hash with [`super::Config::seed`]; zero: unused.
    pub owner: [u64; WAYS],
    /// The time until which the way's capacity is used up.
    pub until: [u64; WAYS],
}

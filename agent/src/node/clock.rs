//! The kernel's clock, as programs read it.

use nix::{
    sys::time::{TimeSpec, TimeValLike as _},
    time::{ClockId, clock_getres, clock_gettime},
};

/// Returns the ticks of the kernel's clock (`get_jiffies_64`), give or take one: it starts five minutes
/// before it wraps around in 32 bits (`INITIAL_JIFFIES`, include/linux/jiffies.h), and the coarse clocks tell
/// the length of a tick.
pub(crate) fn jiffies() -> u64 {
    let nanoseconds = |time: Result<TimeSpec, _>| time.map_or(0, |time| time.num_nanoseconds() as u64);
    let tick = nanoseconds(clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)).max(1);
    let per_second = (1_000_000_000 + tick / 2) / tick;
    let first = (per_second * 300) as u32;
    u64::from(first.wrapping_neg()) + nanoseconds(clock_gettime(ClockId::CLOCK_MONOTONIC)) / tick
}

//! Random choices. `XDP_E2E_SEED` repeats a run.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) struct Chance(u64);

impl Chance {
    /// Takes the seed from the environment or the clock, and prints it.
    pub(crate) fn new() -> Self {
        let given = env::var("XDP_E2E_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_nanos() as u64)
        };
        let seed = given.unwrap_or_else(now);
        println!("XDP_E2E_SEED={seed}");
        Self(seed)
    }

    /// Returns a number below `limit` (`SplitMix64`).
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Removes and returns a random item.
    pub(crate) fn take<T>(&mut self, from: &mut Vec<T>) -> T {
        let index = self.below(from.len() as u64) as usize;
        from.swap_remove(index)
    }
}

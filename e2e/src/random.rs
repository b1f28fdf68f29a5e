//! Random choices that a seed repeats.

/// A generator of random numbers (`SplitMix64`).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator. Two generators with one seed and one name make the same choices.
    pub fn new(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Returns true in this many of a hundred calls.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one of the items.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

#[test]
fn a_seed_repeats_the_choices_of_a_name() {
    let choices = |seed, name| {
        let mut random = Random::new(seed, name);
        [(); 8].map(|()| random.below(1000))
    };
    assert_eq!(choices(7, "a"), choices(7, "a"));
    assert_ne!(choices(7, "a"), choices(7, "b"));
    assert_ne!(choices(7, "a"), choices(8, "a"));
}

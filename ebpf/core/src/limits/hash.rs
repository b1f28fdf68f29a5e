//! A keyed hash: without the seed, an attacker cannot choose sources that share a set with the sources of
//! others.

use crate::tables::Address;

/// Returns SipHash-1-3 of a rule and a source. IPv6 sources of one /64 network are one source: a host can
/// choose the lower half of its address.
#[inline(always)]
pub(super) fn hash(seed: u64, rule: u32, source: &Address) -> u64 {
    let mut state = State::new(seed, !seed.rotate_left(32));
    state.absorb(u64::from(rule));
    state.absorb(source.high);
    state.absorb(if source.is_v4() { source.low } else { 0 });
    state.finish()
}

struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn new(k0: u64, k1: u64) -> Self {
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.mix();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        // The algorithm ends with the length of its input: 24 bytes.
        self.absorb(24 << 56);
        self.0[2] ^= 0xff;
        self.mix();
        self.mix();
        self.mix();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline(always)]
    fn mix(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use super::*;

    extern crate std;

    #[test]
    fn it_is_siphash() {
        // `DefaultHasher::new` has the keys 0 and 0; a seed whose second key is 0 as well does not exist, so
        // the state is set by hand.
        let mut state = State::new(0, 0);
        state.absorb(1);
        state.absorb(2);
        state.absorb(3);
        let mut reference = std::collections::hash_map::DefaultHasher::new();
        for word in 1..=3 {
            reference.write_u64(word);
        }
        assert_eq!(state.finish(), reference.finish());
    }
}

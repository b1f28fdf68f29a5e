//! The Internet checksum (RFC 1071).

/// A sum of 16-bit words, or equivalently of 32-bit words. There are too few words for an overflow.
#[derive(Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes. An odd last byte is the upper half of a word.
    #[inline(always)]
    pub(super) const fn bytes<const N: usize>(self, bytes: &[u8; N]) -> Self {
        let mut sum = self.0;
        let mut at = 0;
        while at + 4 <= N {
            sum += u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as u64;
            at += 4;
        }
        while at < N {
            let low = if at + 1 < N { bytes[at + 1] } else { 0 };
            sum += u16::from_be_bytes([bytes[at], low]) as u64;
            at += 2;
        }
        Self(sum)
    }

    /// Adds one word.
    #[inline(always)]
    pub(super) const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Returns the checksum for the header.
    #[inline(always)]
    pub(super) const fn finish(self) -> [u8; 2] {
        let half = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let once = (half & 0xffff) + (half >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        let thrice = (twice & 0xffff) + (twice >> 16);
        (!(thrice as u16)).to_be_bytes()
    }
}

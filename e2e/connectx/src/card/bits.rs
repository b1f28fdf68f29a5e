//! Bit fields as the command interface of the card defines them: big endian, bit 0 is the most significant
//! bit of the first byte.

/// A field of a structure: its first bit and its width in bits.
///
/// The width is 0 for an array of unknown length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) bit: usize,
    pub(crate) width: usize,
}

impl Field {
    pub(crate) const fn new(bit: usize, width: usize) -> Self {
        Self { bit, width }
    }

    /// Returns the offset of the byte in which the field begins.
    pub(crate) const fn byte(self) -> usize {
        self.bit / 8
    }

    /// Returns this field of a structure that itself begins where `outer` does.
    pub(crate) const fn inside(self, outer: Self) -> Self {
        Self::new(outer.bit + self.bit, self.width)
    }

    /// Returns the value of the field; bits behind the end of `buffer` are 0.
    pub(crate) fn get(self, buffer: &[u8]) -> u64 {
        (self.bit..self.bit + self.width).fold(0, |value, bit| {
            let byte = buffer.get(bit / 8).copied().unwrap_or(0);
            value << 1 | u64::from(byte >> (7 - bit % 8) & 1)
        })
    }

    /// Writes the low bits of `value`; bits behind the end of `buffer` are lost.
    pub(crate) fn set(self, buffer: &mut [u8], value: u64) {
        for (shift, bit) in (0..self.width).rev().zip(self.bit..) {
            let Some(byte) = buffer.get_mut(bit / 8) else {
                return;
            };
            let mask = 0x80 >> (bit % 8);
            if value.checked_shr(shift as u32).unwrap_or(0) & 1 == 1 {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
        }
    }
}

pub(crate) fn set_at(buffer: &mut [u8], base: usize, field: Field, value: u64) {
    Field::new(base + field.bit, field.width).set(buffer, value);
}

pub(crate) fn set(buffer: &mut [u8], field: Field, value: u64) {
    field.set(buffer, value);
}

#[cfg(test)]
mod tests;

//! Addresses, and the index that maps destinations to slots.

/// An IP address: IPv4 in its IPv4-mapped form (`::ffff:a.b.c.d`), as two host-order halves.
///
/// An IPv6 packet with an IPv4-mapped address on the wire cannot be parsed (the kernel drops it as well:
/// Linux commit 6af1799aaf3f), so the two families never collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

impl Address {
    const V4_MAPPED: u64 = 0xffff_0000_0000;

    /// Returns an IPv4 address from its four bytes.
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self {
            high: 0,
            low: Self::V4_MAPPED | u32::from_be_bytes(bytes) as u64,
        }
    }

    /// Returns an IPv6 address from its sixteen bytes.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let value = u128::from_be_bytes(bytes);
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        // One comparison: one branch less for the verifier.
        self.high | (self.low ^ Self::V4_MAPPED) >> 32 == 0
    }

    /// Returns the sixteen bytes in network order.
    pub const fn octets(self) -> [u8; 16] {
        (((self.high as u128) << 64) | self.low as u128).to_be_bytes()
    }

    /// Returns four words, each with its bytes in network order.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        [
            ((self.high >> 32) as u32).to_be(),
            (self.high as u32).to_be(),
            ((self.low >> 32) as u32).to_be(),
            (self.low as u32).to_be(),
        ]
    }

    /// Returns the netmask of an IPv6 prefix (for IPv4: its length plus 96). Lengths above 128 count as 128.
    pub const fn mask(prefix_len: u8) -> Self {
        let value = match prefix_len {
            0 => 0,
            1..=127 => u128::MAX << (128 - prefix_len),
            128.. => u128::MAX,
        };
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

/// Returns the index of an IPv4 address in [`super::maps::INDEX`]. Addresses of an aligned /18 network have
/// different indexes, and consecutive addresses consecutive ones. The first index of a network is a hash.
#[inline(always)]
pub const fn index_position(v4: u32) -> u32 {
    v4.wrapping_add((v4 >> 14).wrapping_mul(SCATTER) >> 18) & (super::INDEX - 1)
}

/// 2³² divided by the golden ratio, and odd: the upper bits of a product depend on all of the factor's.
const SCATTER: u32 = 0x9e37_79b1;

/// One element of the index: an IPv4 address and its slot in one word, so that one store changes both.
///
/// | bits | |
/// |---|---|
/// | 0 to 31 | the address, in host byte order |
/// | 32 to 47 | slot + 1; zero: unused |
/// | 63 | [`IndexWord::MORE`] |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct IndexWord(pub u64);

impl IndexWord {
    /// An unused element.
    pub const EMPTY: Self = Self(0);
    /// Flag: more addresses have this index; they are in [`super::maps::PODS`].
    pub const MORE: u64 = 1 << 63;

    /// Returns the element of an address with `slot`.
    pub const fn new(v4: u32, slot: u32, more: bool) -> Self {
        let more = if more { Self::MORE } else { 0 };
        Self(more | (slot as u64 + 1) << 32 | v4 as u64)
    }

    /// Returns the slot, if the element holds this address.
    #[inline(always)]
    pub const fn slot(self, v4: u32) -> Option<u32> {
        let slot = (self.0 >> 32) as u32 & 0xffff;
        if self.0 as u32 == v4 {
            slot.checked_sub(1)
        } else {
            None
        }
    }

    /// Returns the address in the element.
    pub const fn address(self) -> Option<u32> {
        if (self.0 >> 32) as u16 == 0 {
            None
        } else {
            Some(self.0 as u32)
        }
    }

    /// Whether [`super::maps::PODS`] may hold other addresses with this index.
    #[inline(always)]
    pub const fn more(self) -> bool {
        self.0 & Self::MORE != 0
    }
}

//! Addresses, and the way from a destination to its pod's slot.

/// An IP address: IPv4 in its IPv4-mapped form (`::ffff:a.b.c.d`), as two host-order halves.
///
/// An IPv6 packet that carries an IPv4-mapped address on the wire is not considered (the kernel drops it as well:
/// Linux commit 6af1799aaf3f), so the two families never collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

/// Entries apply to both families unless they have a peer; then the mask covers the IPv4-mapped prefix.
impl Address {
    const V4_MAPPED: u64 = 0xffff_0000_0000;

    /// An IPv4 address from its four bytes.
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self {
            high: 0,
            low: Self::V4_MAPPED | u32::from_be_bytes(bytes) as u64,
        }
    }

    /// An IPv6 address from its sixteen bytes.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let value = u128::from_be_bytes(bytes);
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }

    /// Whether this is the IPv4-mapped form.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        // One comparison: the verifier follows one case less.
        self.high | (self.low ^ Self::V4_MAPPED) >> 32 == 0
    }

    /// The sixteen bytes in network order.
    pub const fn octets(self) -> [u8; 16] {
        (((self.high as u128) << 64) | self.low as u128).to_be_bytes()
    }

    /// The same as four words of which each holds its bytes in network order.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        [
            ((self.high >> 32) as u32).to_be(),
            (self.high as u32).to_be(),
            ((self.low >> 32) as u32).to_be(),
            (self.low as u32).to_be(),
        ]
    }

    /// The netmask of an IPv6 prefix (for IPv4: its length plus 96). Lengths above 128 count as 128.
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

/// Where the index holds an IPv4 address: each address of an aligned /18 network has a place of its own, neighbours side
/// by side, and where the network begins is scattered.
#[inline(always)]
pub const fn index_position(v4: u32) -> u32 {
    v4.wrapping_add((v4 >> 14).wrapping_mul(SCATTER) >> 18) & (super::INDEX - 1)
}

/// 2³² divided by the golden ratio, and odd: the upper bits of a product depend on all of the factor's.
const SCATTER: u32 = 0x9e37_79b1;

/// One place of the index: an IPv4 address and its slot, in one word, so that it changes in one store.
///
/// | bits | |
/// |---|---|
/// | 0 to 31 | the address, in host byte order |
/// | 32 to 47 | slot + 1; zero: no address is here |
/// | 63 | [`IndexWord::MORE`] |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct IndexWord(pub u64);

impl IndexWord {
    /// Nothing leads here.
    pub const EMPTY: Self = Self(0);
    /// Further addresses belong at this place: they are in [`super::maps::PODS`].
    pub const MORE: u64 = 1 << 63;

    /// An address that leads to `slot`.
    pub const fn new(v4: u32, slot: u32, more: bool) -> Self {
        let more = if more { Self::MORE } else { 0 };
        Self(more | (slot as u64 + 1) << 32 | v4 as u64)
    }

    /// The slot, if it is this address that is here.
    #[inline(always)]
    pub const fn slot(self, v4: u32) -> Option<u32> {
        let slot = (self.0 >> 32) as u32 & 0xffff;
        if self.0 as u32 == v4 {
            slot.checked_sub(1)
        } else {
            None
        }
    }

    /// The address that is here.
    pub const fn address(self) -> Option<u32> {
        if (self.0 >> 32) as u16 == 0 {
            None
        } else {
            Some(self.0 as u32)
        }
    }

    /// Whether [`super::maps::PODS`] has to be asked about other addresses of this place.
    #[inline(always)]
    pub const fn more(self) -> bool {
        self.0 & Self::MORE != 0
    }
}

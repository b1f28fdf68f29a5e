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

/// The limits of some sources. A way whose time is past is free, and so is one of another namespace: another
/// source may claim it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LimitSet {
    /// Rule and source, as 48 bits of a hash with [`super::Config::seed`], and [`ShareWord::tag`] in the
    /// lower 16 bits; zero: unused.
    pub owner: [u64; WAYS],
    /// The time until which the way's capacity is used up.
    pub until: [u64; WAYS],
}

/// Which sets of [`super::maps::SOURCE_LIMITS`] the sources of a namespace use. Ranges of namespaces do not
/// overlap.
///
/// Sets that pass from one namespace to another need not be emptied: the tag of a namespace differs from
/// those of the others, so the new owner sees the ways of the old one as free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct ShareWord(pub u64);

impl ShareWord {
    /// The word of a number that no namespace has.
    pub const EMPTY: Self = Self(0);

    /// Returns the word of a namespace. `sets` is a power of two, and `first` a multiple of it; without sets,
    /// the namespace's sources share the limit of their rule. `tag` is not zero.
    pub const fn new(first: u16, sets: u16, tag: u16) -> Self {
        Self((tag as u64) << 32 | (sets as u64) << 16 | first as u64)
    }

    /// Returns the first set.
    #[inline(always)]
    pub const fn first(self) -> u16 {
        self.0 as u16
    }

    /// Returns the number of sets.
    #[inline(always)]
    pub const fn sets(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Returns what distinguishes the ways of this namespace from those of others.
    #[inline(always)]
    pub const fn tag(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Returns the index of the set of a source. `None`: the namespace has no sets.
    #[inline(always)]
    pub const fn set(self, hash: u16) -> Option<u32> {
        match self.sets() as u32 {
            0 => None,
            sets => Some(self.first() as u32 + (hash as u32 & (sets - 1))),
        }
    }
}

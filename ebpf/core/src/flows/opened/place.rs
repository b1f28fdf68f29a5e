//! Where a flow is noted: its set, its word and its tag.

use crate::{
    flows::{
        OpenedStore,
        cache::{FACTORS, hash},
    },
    parse::protocol,
    tables::{Address, FlowKey, OPENED_SETS},
};

/// Epochs of [`OpenedStore::epoch`] in one of this module, as a power of two: 33 s to 328 s.
const PERIOD_SHIFT: u32 = 3;
/// How many periods a noted datagram counts.
const PERIODS: u16 = 2;

const TAG: u64 = !0xffff;

/// Parts of the cache, as a power of two: the connections of a pod displace only those in its part.
const PARTS_SHIFT: u32 = 6;
/// Sets of a part, as a power of two, each for connections and for datagrams.
const SETS_SHIFT: u32 = OPENED_SETS.ilog2() - 1 - PARTS_SHIFT;

/// Returns the part of a pod. No pod can choose it.
#[inline(always)]
fn part(pod: &Address, seed: u64) -> u32 {
    let mixed = (pod.high ^ pod.low.rotate_left(32) ^ seed).wrapping_mul(FACTORS[0]);
    (mixed >> (u64::BITS - PARTS_SHIFT)) as u32
}

/// Hash of a flow, and the present period: 48 bits, of which one is always set, and 16 bits, in one word.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    hash: u64,
    period: u16,
}

impl Entry {
    #[inline(always)]
    pub(super) fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
        Self {
            // One bit is always set: no entry equals an unused element.
            hash: hash(key, flows.seed()) | 1 << 16,
            period: (flows.epoch() >> PERIOD_SHIFT) as u16,
        }
    }

    /// Returns the index in a direct-mapped table of this length, a power of two.
    #[inline(always)]
    pub(super) const fn index(self, length: u32) -> u32 {
        self.hash as u32 & (length - 1)
    }

    #[inline(always)]
    pub(super) const fn word(self) -> u64 {
        self.hash & TAG | self.period as u64
    }

    /// Whether a word has this hash.
    #[inline(always)]
    const fn is(self, word: u64) -> bool {
        (word ^ self.hash) & TAG == 0
    }

    /// Returns the age of a word in periods.
    #[inline(always)]
    const fn age(self, word: u64) -> u16 {
        self.period.wrapping_sub(word as u16)
    }

    #[inline(always)]
    pub(super) const fn is_fresh(self, word: u64) -> bool {
        self.is(word) && self.age(word) <= PERIODS
    }
}

/// The set of a flow, and its tag in [`crate::tables::maps::OPENED_TAGS`].
#[derive(Clone, Copy)]
pub(super) struct TaggedSet {
    /// Element of the tags, which two sets share.
    index: u32,
    is_datagram: bool,
    tag: u8,
}

impl TaggedSet {
    #[inline(always)]
    pub(super) fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
        let ports = u64::from(key.remote_port) << 16 | u64::from(key.pod_port);
        let address = key.remote.low ^ key.remote.high ^ flows.seed();
        // The upper bits depend on all bits of both.
        let mixed = address
            .wrapping_mul(FACTORS[0])
            .wrapping_add(ports.wrapping_mul(FACTORS[1]));
        Self {
            index: part(&key.pod, flows.seed()) << SETS_SHIFT | (mixed >> (u64::BITS - SETS_SHIFT)) as u32,
            is_datagram: !is_connection(key.protocol),
            // An unused way has no bit set.
            tag: (mixed >> (u64::BITS - SETS_SHIFT - u8::BITS)) as u8 | 1,
        }
    }

    /// Index in [`crate::tables::maps::OPENED`].
    #[inline(always)]
    const fn set(self) -> u32 {
        self.index << 1 | self.is_datagram as u32
    }

    /// Byte of the tag of a way.
    #[inline(always)]
    const fn byte(self, way: u32) -> u32 {
        (self.is_datagram as u32) << 2 | way
    }

    /// Whether a way has this tag.
    #[inline(always)]
    pub(super) fn is_tagged(self, flows: &impl OpenedStore) -> bool {
        const ONES: u32 = 0x0101_0101;
        let tags = flows.opened_tags(self.index);
        let ways = (tags >> (u32::from(self.is_datagram) << 5)) as u32;
        // Whether a byte is zero: only there, subtracting one sets a bit that was clear.
        let differs = ways ^ (u32::from(self.tag) * ONES);
        differs.wrapping_sub(ONES) & !differs & ONES << 7 != 0
    }
}

/// The places of a flow in [`crate::tables::maps::OPENED`].
#[derive(Clone, Copy)]
pub(super) struct Place {
    entry: Entry,
    at: TaggedSet,
}

impl Place {
    #[inline(always)]
    pub(super) fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
        Self {
            entry: Entry::of(key, flows),
            at: TaggedSet::of(key, flows),
        }
    }

    /// Writes a word and its tag. The word is first: what has a tag is there.
    #[inline(always)]
    fn write(self, way: u32, word: u64, flows: &impl OpenedStore) {
        flows.set_opened(self.at.set(), way, word);
        let tag = if word == 0 { 0 } else { self.at.tag };
        flows.set_opened_tag(self.at.index, self.at.byte(way), tag);
    }

    /// Returns the way that holds the flow, and its word.
    #[inline(always)]
    pub(super) fn find(self, flows: &impl OpenedStore) -> Option<(u32, u64)> {
        let words = flows.opened(self.at.set())?;
        let (mut way, mut word) = (0, 0);
        for (at, candidate) in words.into_iter().enumerate() {
            if self.entry.is(candidate) {
                (way, word) = (at as u64, candidate);
            }
            // Else the verifier would follow each combination of ways.
            (way, word) = (flows.opaque(way), flows.opaque(word));
        }
        let found = word != 0 && (!self.at.is_datagram || self.entry.is_fresh(word));
        found.then_some((way as u32, word))
    }

    /// Writes the flow over its stale self, an unused element or the oldest one.
    #[inline(always)]
    pub(super) fn insert(self, flows: &impl OpenedStore) {
        let Some(words) = flows.opened(self.at.set()) else {
            return;
        };
        let (mut victim, mut oldest) = (0, 0);
        for (way, word) in words.into_iter().enumerate() {
            let age = if word == 0 || self.entry.is(word) {
                u64::from(u16::MAX) + 1
            } else {
                u64::from(self.entry.age(word))
            };
            if flows.opaque(age) >= oldest {
                (victim, oldest) = (way as u64, age);
            }
            (victim, oldest) = (flows.opaque(victim), flows.opaque(oldest));
        }
        self.write(victim as u32, self.entry.word(), flows);
    }

    /// Writes the flow over an unused element or a stale one, if there is one. Only the agent does so.
    pub(super) fn insert_if_free(self, flows: &impl OpenedStore) {
        let words = flows.opened(self.at.set()).unwrap_or_default();
        let is_free = |word: u64| word == 0 || self.at.is_datagram && self.entry.age(word) > PERIODS;
        if let Some(way) = words.into_iter().position(is_free) {
            self.write(way as u32, self.entry.word(), flows);
        }
    }

    /// Marks the flow as in use. Returns whether it is noted.
    #[inline(always)]
    pub(super) fn refresh(self, flows: &impl OpenedStore) -> bool {
        let Some((way, word)) = self.find(flows) else {
            return false;
        };
        // Another CPU may have written the tag of another flow there.
        if word != self.entry.word() || !self.at.is_tagged(flows) {
            self.write(way, self.entry.word(), flows);
        }
        true
    }

    #[inline(always)]
    pub(super) fn remove(self, flows: &impl OpenedStore) {
        if let Some((way, _)) = self.find(flows) {
            self.write(way, 0, flows);
        }
    }
}

#[inline(always)]
pub(super) const fn is_connection(protocol: u32) -> bool {
    protocol == protocol::TCP as u32 || protocol == protocol::SCTP as u32
}

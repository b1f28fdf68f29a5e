//! Connections that pods opened. Their packets are the stack's, whatever the rules say.
//!
//! | who | calls | when |
//! |---|---|---|
//! | the program on the pod's interface, and on the NIC's egress | [`note_sent`] | the pod sends a packet through the stack |
//! | the program on the pod's interface | [`note_delivered`] | the stack delivers a packet to the pod |
//! | the program on the NIC | [`is_opened_by_pod`] | a rule would drop the packet |
//!
//! A connection belongs to the pod if the pod sent its opening packet. Datagrams have none: there it belongs
//! to the side whose datagram was seen first. That a remote host was first is remembered for some minutes, in
//! [`crate::tables::maps::HEARD`]: the answers of a server open nothing. The agent notes the connections that
//! the programs have not seen, as far as the kernel's lists tell ([`note_opened`]).
//!
//! [`crate::tables::maps::OPENED`] is a set-associative cache of hashes, so noting a connection takes no
//! lock. Connections and datagrams have places of their own: no number of the one displaces the other.
//!
//! Under a flood, hardly any packet belongs to a connection of the pod. So [`may_be_opened_by_pod`] compares
//! one byte for each way, in [`crate::tables::maps::OPENED_TAGS`]. These are few and dense, and need only a
//! short hash. One in some 30 other packets has the byte of a connection in its set, and is looked up.

use super::{
    FlowPacket, OpenedStore, PacketRole,
    cache::{FACTORS, hash},
};
use crate::{
    parse::protocol,
    tables::{Address, FlowKey, HEARD, OPENED_SETS},
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
struct Entry {
    hash: u64,
    period: u16,
}

impl Entry {
    #[inline(always)]
    fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
        Self {
            // One bit is always set: no entry equals an unused element.
            hash: hash(key, flows.seed()) | 1 << 16,
            period: (flows.epoch() >> PERIOD_SHIFT) as u16,
        }
    }

    #[inline(always)]
    const fn word(self) -> u64 {
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
    const fn is_fresh(self, word: u64) -> bool {
        self.is(word) && self.age(word) <= PERIODS
    }
}

/// The set of a flow, and its tag in [`crate::tables::maps::OPENED_TAGS`].
#[derive(Clone, Copy)]
struct TaggedSet {
    /// Element of the tags, which two sets share.
    index: u32,
    is_datagram: bool,
    tag: u8,
}

impl TaggedSet {
    #[inline(always)]
    fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
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
    fn is_tagged(self, flows: &impl OpenedStore) -> bool {
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
struct Place {
    entry: Entry,
    at: TaggedSet,
}

impl Place {
    #[inline(always)]
    fn of(key: &FlowKey, flows: &impl OpenedStore) -> Self {
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
    fn find(self, flows: &impl OpenedStore) -> Option<(u32, u64)> {
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
    fn insert(self, flows: &impl OpenedStore) {
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

    /// Marks the flow as in use. Returns whether it is noted.
    #[inline(always)]
    fn refresh(self, flows: &impl OpenedStore) -> bool {
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
    fn remove(self, flows: &impl OpenedStore) {
        if let Some((way, _)) = self.find(flows) {
            self.write(way, 0, flows);
        }
    }
}

#[inline(always)]
const fn is_connection(protocol: u32) -> bool {
    protocol == protocol::TCP as u32 || protocol == protocol::SCTP as u32
}

/// Whether a remote host was first to send a datagram of the flow, not long ago.
#[inline(always)]
fn is_heard(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    let entry = Entry::of(key, flows);
    entry.is_fresh(flows.heard(heard_index(entry)))
}

/// Notes that a remote host was first to send a datagram of the flow.
#[inline(always)]
pub(super) fn hear(key: &FlowKey, flows: &impl OpenedStore) {
    let entry = Entry::of(key, flows);
    let index = heard_index(entry);
    if flows.heard(index) != entry.word() {
        flows.set_heard(index, entry.word());
    }
}

#[inline(always)]
const fn heard_index(entry: Entry) -> u32 {
    entry.hash as u32 & (HEARD - 1)
}

/// Notes the connection of a packet that a pod sends through the stack, if the pod opens it.
#[inline(always)]
pub fn note_sent(packet: &FlowPacket, flows: &impl OpenedStore) {
    let place = Place::of(&packet.key, flows);
    let opens = match packet.role {
        PacketRole::New => true,
        // An echo reply answers.
        PacketRole::Datagram if packet.key.protocol != u32::from(protocol::UDP) => return,
        PacketRole::Datagram | PacketRole::OwnEcho => !is_heard(&packet.key, flows),
        PacketRole::Data | PacketRole::Inconclusive => false,
        PacketRole::Related | PacketRole::Untracked => return,
    };
    if !place.refresh(flows) && opens {
        place.insert(flows);
    }
}

/// Notes a connection that a pod has opened, unless the programs have seen that a remote host did. It
/// displaces no connection that is in use.
pub fn note_opened(key: &FlowKey, flows: &impl OpenedStore) {
    let place = Place::of(key, flows);
    let is_others = place.at.is_datagram && is_heard(key, flows);
    if is_others || place.refresh(flows) {
        return;
    }
    let words = flows.opened(place.at.set()).unwrap_or_default();
    let is_free = |word: u64| word == 0 || place.at.is_datagram && place.entry.age(word) > PERIODS;
    if let Some(way) = words.into_iter().position(is_free) {
        place.write(way as u32, place.entry.word(), flows);
    }
}

/// Notes a connection that a remote host has opened: what the pod answers opens none.
pub fn note_heard(key: &FlowKey, flows: &impl OpenedStore) {
    if !is_connection(key.protocol) {
        hear(key, flows);
    }
}

/// Notes that the stack delivers a packet to a pod: one that opens a connection ends the pod's own with the
/// same addresses and ports.
#[inline(always)]
pub fn note_delivered(packet: &FlowPacket, flows: &impl OpenedStore) {
    let place = Place::of(&packet.key, flows);
    match packet.role {
        PacketRole::New => place.remove(flows),
        PacketRole::Datagram if place.find(flows).is_none() => hear(&packet.key, flows),
        PacketRole::Datagram
        | PacketRole::Data
        | PacketRole::Inconclusive
        | PacketRole::Related
        | PacketRole::OwnEcho
        | PacketRole::Untracked => {}
    }
}

/// Whether a packet with ports may belong to a connection that the pod opened. Most others do not.
#[inline(always)]
pub fn may_be_opened_by_pod(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    TaggedSet::of(key, flows).is_tagged(flows)
}

/// Whether a connection is noted as one that the pod opened. For packets that open no connection themselves,
/// that is the answer of [`is_opened_by_pod`].
pub fn is_noted(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    Place::of(key, flows).find(flows).is_some()
}

/// Whether a packet to a pod belongs to a connection that the pod opened, or is an error about one. A packet
/// that opens a connection belongs to none.
#[inline(always)]
pub fn is_opened_by_pod(packet: &FlowPacket, flows: &impl OpenedStore) -> bool {
    let place = Place::of(&packet.key, flows);
    match packet.role {
        PacketRole::New | PacketRole::Untracked => false,
        PacketRole::Datagram if packet.key.protocol != u32::from(protocol::UDP) => false,
        PacketRole::Data | PacketRole::Inconclusive => place.refresh(flows),
        PacketRole::Datagram | PacketRole::OwnEcho | PacketRole::Related => place.find(flows).is_some(),
    }
}

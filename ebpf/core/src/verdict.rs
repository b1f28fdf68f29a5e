//! What is done with a packet, and where that is counted.
//!
//! [`decide`] is total and fails open: whatever is missing (address, slot, device, block, match) passes the packet. A
//! packet is lost only because a rule that says so matched it. What a limit makes of the verdict is decided afterwards,
//! by [`crate::limits::enforce`]: so `explain` and the tests can ask without using anything up.

mod classify;
mod control;
mod key;
mod kinds;
mod reasons;

pub use self::kinds::{Field, Redirect, Verdict};
pub use self::reasons::{Event, Fallback};
pub use crate::parse::Unparsed;

pub(crate) use self::key::{Key, column};
use crate::metadata::Metadata;
use crate::parse::{self, Bytes, Packet};
use crate::reject;
use crate::tables::{
    Action, ActionRecord, Address, Class, IndexWord, NO_MATCH, PodBlock, Ports, SlotWord, SourcesV4,
    SourcesV6, index_position,
};

/// What the program reads. Every lookup may fail, at any time.
pub trait Tables {
    /// [`crate::tables::maps::INDEX`].
    fn index(&self, position: u32) -> Option<IndexWord>;

    /// [`crate::tables::maps::PODS`].
    fn slot(&self, destination: &Address) -> Option<u32>;

    /// [`crate::tables::maps::SLOTS`].
    fn word(&self, slot: u32) -> Option<SlotWord>;

    /// Whether [`crate::tables::maps::DEVICES`] has the slot: with its device a pod's rules are gone.
    fn alive(&self, slot: u32) -> bool;

    /// [`crate::tables::maps::POD_BLOCKS`].
    fn pod(&self, index: u32) -> Option<&PodBlock>;

    /// [`crate::tables::maps::SOURCES_V4`].
    fn sources_v4(&self, index: u32) -> Option<&SourcesV4>;

    /// [`crate::tables::maps::SOURCES_V6`].
    fn sources_v6(&self, index: u32) -> Option<&SourcesV6>;

    /// [`crate::tables::maps::CLASSES`].
    fn class(&self, index: u32) -> Option<&Class>;

    /// [`crate::tables::maps::PORT_BLOCKS`].
    fn ports(&self, index: u32) -> Option<&Ports>;

    /// [`crate::tables::maps::ACTIONS`].
    fn action(&self, number: u16) -> Option<&ActionRecord>;

    /// `value` itself, which the compiler knows nothing about: it would turn arithmetic into branches, and the verifier
    /// would follow every one of them.
    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        value
    }
}

/// A verdict and how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'t> {
    /// Before limits.
    pub verdict: Verdict,
    /// The way through the tables.
    pub trace: Trace,
    /// The limit that the packet has to keep to.
    pub limit: Option<Limit<'t>>,
}

/// The way through the tables, as far as it went: [`Trace::NOWHERE`] where it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the pod.
    pub slot: u32,
    /// Index of the class.
    pub class: u32,
    /// Action number; [`NO_MATCH`] if no rule matches.
    pub action: u32,
}

impl Trace {
    /// In place of an index.
    pub const NOWHERE: u32 = u32::MAX;
    const NONE: Self = Self {
        slot: Self::NOWHERE,
        class: Self::NOWHERE,
        action: Self::NOWHERE,
    };
}

/// A rule's rate limit, and whom it is for.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'t> {
    /// With [`ActionRecord::LIMIT_RULE`] or [`ActionRecord::LIMIT_SOURCE`].
    pub record: &'t ActionRecord,
    /// The packet's source address.
    pub source: Address,
}

/// Decides about one frame.
#[inline(always)]
pub fn decide<B: Bytes + ?Sized>(bytes: &B, tables: &impl Tables) -> Verdict {
    examine(bytes, tables).verdict
}

/// Decides about one frame, and tells how.
#[inline(always)]
pub fn examine<'t, B: Bytes + ?Sized, T: Tables>(bytes: &B, tables: &'t T) -> Decision<'t> {
    let none = |verdict| Decision {
        verdict,
        trace: Trace::NONE,
        limit: None,
    };
    match parse::parse(bytes) {
        Ok(packet) if control::is_control(&packet) => none(Verdict::NotConsidered),
        Ok(packet) => look_up(bytes, &packet, tables).unwrap_or(none(Verdict::NotConsidered)),
        Err(reason) => none(Verdict::Unparsed(reason)),
    }
}

/// `None`: no rules are in force for this destination.
#[inline(always)]
fn look_up<'t, B: Bytes + ?Sized, T: Tables>(
    bytes: &B,
    packet: &Packet,
    tables: &'t T,
) -> Option<Decision<'t>> {
    let key = Key::new(bytes, packet);
    let slot = slot(&key, tables)?;
    let pod = tables.word(slot)?.block()?;
    if !tables.alive(slot) {
        return None;
    }
    let pod = tables.pod(pod)?;
    let (class, number) = classify::find(pod, &key, tables)?;
    let trace = Trace {
        slot,
        class,
        action: u32::from(number),
    };
    if number == NO_MATCH {
        return Some(Decision {
            verdict: Verdict::NoMatch,
            trace,
            limit: None,
        });
    }
    let record = tables.action(number)?;
    Some(Decision {
        verdict: act(bytes, &key, slot, pod, record),
        trace,
        limit: limit(&key, record),
    })
}

/// The slot of a destination: most are in the index, which is one look-up in an array.
#[inline(always)]
fn slot(key: &Key, tables: &impl Tables) -> Option<u32> {
    if key.is_v4() {
        let v4 = key.destination.low as u32;
        let word = tables.index(index_position(v4))?;
        if let Some(slot) = word.slot(v4) {
            return Some(slot);
        }
        if !word.more() {
            return None;
        }
    }
    tables.slot(&key.destination)
}

#[inline(always)]
fn act<B: Bytes + ?Sized>(bytes: &B, key: &Key, slot: u32, pod: &PodBlock, record: &ActionRecord) -> Verdict {
    let rule = record.rule;
    if record.flags & ActionRecord::AUDIT != 0 {
        return Verdict::Audit { rule };
    }
    match Action::from_byte(record.action) {
        Action::Pass => Verdict::Pass { rule },
        Action::Drop => Verdict::Drop { rule },
        Action::Reject => match reject::offender(bytes, key) {
            Some(offender) => Verdict::Reject { rule, offender },
            None => Verdict::Unanswered {
                rule,
                reason: Event::RejectSilent,
            },
        },
        Action::Redirect => redirect(key, slot, pod, record),
    }
}

#[inline(always)]
fn redirect(key: &Key, slot: u32, pod: &PodBlock, record: &ActionRecord) -> Verdict {
    let rule = record.rule;
    let is_peer = record.flags & ActionRecord::PEER != 0;
    if let Some(reason) = obstacle(key, pod, is_peer) {
        return Verdict::FallBack { rule, reason };
    }
    let mark = (record.flags & ActionRecord::MARK != 0).then_some(record.mark);
    let metadata = Metadata::new(rule, mark);
    let redirect = Redirect {
        slot,
        mac: pod.mac,
        tags: key.tags,
        metadata,
    };
    if is_peer {
        Verdict::Peer(redirect)
    } else {
        Verdict::Redirect(redirect)
    }
}

/// What stands against a redirect before it is tried.
#[inline(always)]
fn obstacle(key: &Key, pod: &PodBlock, is_peer: bool) -> Option<Fallback> {
    if is_peer && pod.flags & PodBlock::NO_PEER != 0 {
        Some(Fallback::NoPeer)
    } else if !is_peer && pod.flags & PodBlock::NOT_READY != 0 {
        Some(Fallback::NotReady)
    } else if key.group_mac != 0 {
        Some(Fallback::GroupMac)
    } else if key.fragment != 0 {
        Some(Fallback::Fragment)
    } else if key.ip_len > pod.mtu {
        Some(Fallback::TooLong)
    } else {
        None
    }
}

/// A packet that a redirect falls back for uses its limit up like all others.
#[inline(always)]
fn limit<'t>(key: &Key, record: &'t ActionRecord) -> Option<Limit<'t>> {
    const LIMITS: u8 = ActionRecord::LIMIT_RULE | ActionRecord::LIMIT_SOURCE;
    let acts = record.flags & ActionRecord::AUDIT == 0;
    let source = key.source;
    (acts && record.flags & LIMITS != 0).then_some(Limit { record, source })
}

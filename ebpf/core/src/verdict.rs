//! What is done with a packet, and where that is counted.
//!
//! [`decide`] is total and fails open: whatever is missing (address, slot, device, block, match) passes the packet. A
//! packet is lost only because a rule that says so matched it. What a limit makes of the verdict is decided afterwards,
//! by [`crate::limits::enforce`]: so `explain` and the tests can ask without using anything up.

mod classify;
mod control;
mod decision;
mod key;
mod kinds;
mod reasons;

pub(crate) use self::key::column;
pub use self::{
    decision::{Decision, Limit, Outcome, Trace},
    key::{Key, Room},
    kinds::{Field, Kind, Redirect, Verdict},
    reasons::{Event, Fallback, FlowEvent},
};
pub use crate::parse::Unparsed;
use crate::{
    flows::Carried,
    parse::{
        Bytes, {self},
    },
    reject::{
        Answer, {self},
    },
    tables::{
        Action, ActionRecord, Address, Class, IndexWord, NO_MATCH, PodBlock, Ports, SlotWord, SourcesV4,
        SourcesV6, index_position,
    },
};

/// What the program reads. Every lookup may fail, at any time.
pub trait Tables {
    /// [`crate::tables::maps::INDEX`].
    fn index(&self, position: u32) -> Option<IndexWord>;

    /// [`crate::tables::maps::PODS`].
    fn slot(&self, destination: &Address) -> Option<u32>;

    /// [`crate::tables::maps::SLOTS`].
    fn word(&self, slot: u32) -> Option<SlotWord>;

    /// Whether [`crate::tables::maps::DEVICES`] has the slot: without its device, a pod's rules only pass.
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

    /// The sum of the bits of `a` in one mask and those of `b` in another. The masks have no bit in common, so it is their
    /// union, too; but of a union of two numbers Linux before 6.10 knows no bounds (`adjust_scalar_min_max_vals`).
    #[inline(always)]
    fn join(&self, a: (u64, u64), b: (u64, u64)) -> u64 {
        (a.0 & a.1) + (b.0 & b.1)
    }
}

/// Decides about one frame.
#[inline(always)]
pub fn decide<B: Bytes + ?Sized>(bytes: &B, tables: &impl Tables) -> Verdict {
    let mut room = Room::uninit();
    examine(bytes, tables, &mut room).predicted(tables).verdict()
}

/// Decides about one frame, and tells how. Whether a pod that is redirected to still has its device is seen by who tries,
/// or by [`Decision::predicted`].
#[inline(always)]
pub fn examine<'t, B: Bytes + ?Sized, T: Tables>(
    bytes: &B,
    tables: &'t T,
    room: &'t mut Room,
) -> Decision<'t> {
    let mut decision = Decision::NOT_CONSIDERED;
    match parse::parse(bytes) {
        Ok(packet) if control::is_control(&packet) => {}
        Ok(packet) => {
            let key = room.write(Key::new(&packet));
            bytes.settle(key);
            look_up(bytes, key, tables, &mut decision);
        }
        Err(reason) => decision.outcome = Outcome::because(Kind::Unparsed, reason.code()),
    }
    decision
}

/// `None`: no rules are in force for this destination.
#[inline(always)]
fn look_up<'t, B: Bytes + ?Sized, T: Tables>(
    bytes: &B,
    key: &'t Key,
    tables: &'t T,
    decision: &mut Decision<'t>,
) -> Option<()> {
    let slot = slot(key.destination(), key.is_v4(), tables)?;
    let pod = tables.pod(tables.word(slot)?.block()?)?;
    let (class, number) = classify::find(pod, key, tables)?;
    let trace = Trace {
        slot,
        class,
        action: u32::from(number),
    };
    let mut rule = None;
    let mut answer = None;
    let mut outcome = Outcome::of(Kind::NoMatch);
    if number != NO_MATCH {
        let record = tables.action(number)?;
        rule = Some(record);
        answer = reject::answer(bytes, key, record);
        outcome = act(key, pod, record, answer);
        // The address may be another pod's by now.
        if needs_device(outcome.kind, record) && !tables.alive(slot) {
            return None;
        }
    }
    *decision = Decision {
        outcome,
        trace,
        key: Some(key),
        pod: Some(pod),
        record: rule,
        answer,
    };
    Some(())
}

/// The slot of a destination: most are in the index, which is one look-up in an array.
#[inline(always)]
fn slot(destination: &Address, is_v4: bool, tables: &impl Tables) -> Option<u32> {
    if is_v4 {
        let v4 = destination.low as u32;
        let word = tables.index(index_position(v4))?;
        if let Some(slot) = word.slot(v4) {
            return Some(slot);
        }
        if !word.more() {
            return None;
        }
    }
    tables.slot(destination)
}

/// The pod with this address, if rules are in force for it.
#[inline(always)]
pub fn pod<'t, T: Tables>(address: &Address, tables: &'t T) -> Option<&'t PodBlock> {
    let slot = slot(address, address.is_v4(), tables)?;
    tables.pod(tables.word(slot)?.block()?)
}

#[inline(always)]
fn act(key: &Key, pod: &PodBlock, record: &ActionRecord, answer: Option<Answer>) -> Outcome {
    if record.flags & ActionRecord::AUDIT != 0 {
        return Outcome::of(Kind::Audit);
    }
    match Action::from_byte(record.action) {
        Action::Pass => Outcome::of(Kind::Pass),
        Action::Drop => Outcome::of(Kind::Drop),
        Action::Reject if answer.is_none() => {
            Outcome::because(Kind::RejectedSilently, Event::RejectSilent.code())
        }
        Action::Reject => Outcome::of(Kind::Reject),
        Action::Redirect => {
            let is_peer = record.flags & ActionRecord::PEER != 0;
            match obstacle(key, pod, is_peer) {
                Some(reason) => Outcome::because(Kind::FallBack, reason.code()),
                None if is_peer => Outcome::of(Kind::Peer),
                None => Outcome::of(Kind::Redirect),
            }
        }
    }
}

/// Whether more may be done than to pass the packet before its pod's device is asked for anyway.
#[inline(always)]
fn needs_device(kind: Kind, record: &ActionRecord) -> bool {
    let acts = matches!(kind, Kind::Drop | Kind::Reject | Kind::RejectedSilently);
    acts || record.limits()
}

/// What stands against a redirect before it is tried.
#[inline(always)]
fn obstacle(key: &Key, pod: &PodBlock, is_peer: bool) -> Option<Fallback> {
    if is_peer && pod.flags & PodBlock::NO_PEER != 0 {
        Some(Fallback::NoPeer)
    } else if !is_peer && pod.flags & PodBlock::NOT_READY != 0 {
        Some(Fallback::NotReady)
    } else if pod.flags & PodBlock::REPLY_PATH == 0 {
        Some(Fallback::NoReplyPath)
    } else {
        unfit(key, pod)
    }
}

/// What makes a packet one for the stack, whatever the pod can take.
#[inline(always)]
fn unfit(key: &Key, pod: &PodBlock) -> Option<Fallback> {
    if key.group_mac() != 0 {
        Some(Fallback::NotUnicast)
    } else if key.fragment() != 0 {
        Some(Fallback::Fragment)
    } else if key.ip_len() > pod.mtu {
        Some(Fallback::TooLong)
    } else {
        None
    }
}

/// Which packets of this shape are delivered past the stack although no rule redirects them.
#[inline(always)]
fn carried(key: &Key, pod: &PodBlock) -> Carried {
    if pod.flags & PodBlock::NOT_READY != 0 || unfit(key, pod).is_some() {
        Carried::Nothing
    } else if pod.flags & PodBlock::DRAIN != 0 {
        Carried::Answered
    } else if key.is_icmp() && pod.flags & PodBlock::REPLY_PATH != 0 {
        Carried::Errors
    } else {
        Carried::Nothing
    }
}

//! The verdict on a packet, and the counters it belongs to.
//!
//! [`decide`] is total and fails open: whatever is absent (address, slot, device, block, match), the packet
//! passes. A packet is dropped only because a rule that says so matched it, or could match it: a packet that
//! cannot be parsed to its ports is judged by its addresses and, if known, its protocol. Rate limits apply
//! afterwards, in [`crate::limits::enforce`]: so `explain` and the tests can decide without using up a limit.

mod classify;
mod control;
mod decision;
mod holder;
mod kinds;

pub use self::{
    decision::{Decision, PacketLimit, Trace, VerdictCode},
    holder::{Holder, holder},
    kinds::{Field, Kind, Redirect, Verdict},
};
use crate::{
    events::{Event, Fallback, Unparsed, UnparsedDrop},
    flows::DrainScope,
    frames::{
        StationTables, Tags, {self},
    },
    key::{PacketKey, Scratch},
    parse::{
        Bytes, {self},
    },
    reject::{
        RejectWith, {self},
    },
    tables::{
        Action, ActionRecord, Address, Class, IndexWord, NO_MATCH, PodBlock, Ports, Receiver, SlotWord,
        SourcesV4, SourcesV6, index_position,
    },
};

/// Access to the tables of rules. Every look-up may fail at any time.
pub trait RuleTables: StationTables {
    /// Looks up an element of [`crate::tables::maps::INDEX`].
    fn index(&self, position: u32) -> Option<IndexWord>;

    /// Looks up an element of [`crate::tables::maps::PODS`].
    fn slot(&self, destination: &Address) -> Option<u32>;

    /// Looks up an element of [`crate::tables::maps::SLOTS`].
    fn word(&self, slot: u32) -> Option<SlotWord>;

    /// Whether [`crate::tables::maps::DEVICES`] has an entry for the slot. If a pod's device is gone, its
    /// packets pass.
    fn alive(&self, slot: u32) -> bool;

    /// Looks up an element of [`crate::tables::maps::POD_BLOCKS`].
    fn pod(&self, index: u32) -> Option<&PodBlock>;

    /// Looks up an element of [`crate::tables::maps::SOURCES_V4`].
    fn sources_v4(&self, index: u32) -> Option<&SourcesV4>;

    /// Looks up an element of [`crate::tables::maps::SOURCES_V6`].
    fn sources_v6(&self, index: u32) -> Option<&SourcesV6>;

    /// Looks up an element of [`crate::tables::maps::CLASSES`].
    fn class(&self, index: u32) -> Option<&Class>;

    /// Looks up an element of [`crate::tables::maps::PORT_BLOCKS`].
    fn ports(&self, index: u32) -> Option<&Ports>;

    /// Looks up an element of [`crate::tables::maps::ACTIONS`].
    fn action(&self, number: u16) -> Option<&ActionRecord>;

    /// Returns `value` unchanged, and opaque to the compiler, which otherwise turns arithmetic into branches.
    /// The verifier follows each branch.
    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        value
    }

    /// Adds `a.0 & a.1` and `b.0 & b.1`. The masks `a.1` and `b.1` have no bit in common, so the sum equals
    /// the union. The verifier of Linux before 6.10 knows no bounds of a union
    /// (`adjust_scalar_min_max_vals`), but those of a sum.
    #[inline(always)]
    fn join(&self, a: (u64, u64), b: (u64, u64)) -> u64 {
        (a.0 & a.1) + (b.0 & b.1)
    }
}

/// Decides about a frame.
#[inline(always)]
pub fn decide<B: Bytes + ?Sized>(bytes: &B, tables: &impl RuleTables) -> Verdict {
    let mut scratch = Scratch::uninit();
    examine(bytes, tables, &mut scratch).predicted(tables).verdict()
}

/// Decides about a frame, and returns how. Whether the target pod of a redirect still has its device turns
/// out when the redirect is executed, or in [`Decision::predicted`].
#[inline(always)]
pub fn examine<'t, B: Bytes + ?Sized, T: RuleTables>(
    bytes: &B,
    tables: &'t T,
    scratch: &'t mut Scratch,
) -> Decision<'t> {
    let mut decision = Decision::NOT_CONSIDERED;
    match parse::parse_addresses(bytes) {
        Ok(packet) if control::is_control(&packet) => {}
        Ok(packet) => {
            let key = scratch.write(PacketKey::new(&packet));
            bytes.barrier(key);
            if key.is_unparsed() {
                decision.outcome = unparsed(key, false);
            }
            look_up(bytes, key, tables, &mut decision);
        }
        Err(Unparsed::TooManyTags) if Tags::read(bytes).is_some_and(|tags| tables.may_be_dropped(tags)) => {
            decision.outcome = VerdictCode::because(Kind::UnparsedDrop, UnparsedDrop::TooManyTags.code());
        }
        Err(reason) => decision.outcome = VerdictCode::because(Kind::Unparsed, reason.code()),
    }
    decision
}

/// Fills in the decision. `None`: no rules apply to this destination.
///
/// Whether the stack would take the frame is asked only for packets to pods: those of others are not counted.
#[inline(always)]
fn look_up<'t, B: Bytes + ?Sized, T: RuleTables>(
    bytes: &B,
    key: &'t mut PacketKey,
    tables: &'t T,
    decision: &mut Decision<'t>,
) -> Option<()> {
    let slot = slot(key.destination(), key.is_v4(), tables)?;
    let pod = tables.pod(tables.word(slot)?.block()?)?;
    match frames::receiver(bytes, key.tags(), tables) {
        Ok(receiver) => key.set_receiver(receiver.flags),
        Err(reason) => {
            decision.outcome = VerdictCode::because(Kind::Foreign, reason.code());
            return None;
        }
    }
    let key = &*key;
    let index = classify::find(pod, key, tables)?;
    let class = tables.class(index)?;
    let mut trace = Trace {
        slot,
        class: index,
        action: Trace::ABSENT,
    };
    if key.is_unparsed() {
        let (_, columns) = key.unparsed();
        let drops = class.drops & columns != 0 && tables.alive(slot);
        *decision = Decision {
            outcome: unparsed(key, drops),
            trace,
            key: Some(key),
            pod: Some(pod),
            record: None,
            answer: None,
        };
        return Some(());
    }
    let number = classify::number(class, key, tables)?;
    trace.action = u32::from(number);
    let mut rule = None;
    let mut answer = None;
    let mut outcome = VerdictCode::of(Kind::NoMatch);
    if number != NO_MATCH {
        let record = tables.action(number)?;
        rule = Some(record);
        answer = reject::answer(bytes, key, record);
        outcome = act(key, pod, record, answer);
        // The address may belong to another pod already.
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

/// Returns the verdict on a packet whose transport header cannot be read.
#[inline(always)]
fn unparsed(key: &PacketKey, drops: bool) -> VerdictCode {
    let (reason, _) = key.unparsed();
    if drops {
        VerdictCode::because(Kind::UnparsedDrop, UnparsedDrop::code_of(reason))
    } else {
        VerdictCode::because(Kind::Unparsed, reason)
    }
}

/// Looks up the slot of a destination. Most are in the index: one look-up in an array.
#[inline(always)]
fn slot(destination: &Address, is_v4: bool, tables: &impl RuleTables) -> Option<u32> {
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

/// Looks up the pod with this address, if rules apply to it.
#[inline(always)]
pub fn pod<'t, T: RuleTables>(address: &Address, tables: &'t T) -> Option<&'t PodBlock> {
    let slot = slot(address, address.is_v4(), tables)?;
    tables.pod(tables.word(slot)?.block()?)
}

#[inline(always)]
fn act(key: &PacketKey, pod: &PodBlock, record: &ActionRecord, answer: Option<RejectWith>) -> VerdictCode {
    if record.flags & ActionRecord::AUDIT != 0 {
        return VerdictCode::of(Kind::Audit);
    }
    match Action::from_byte(record.action) {
        Action::Pass => VerdictCode::of(Kind::Pass),
        Action::Drop => VerdictCode::of(Kind::Drop),
        Action::Reject if answer.is_none() => {
            VerdictCode::because(Kind::RejectedSilently, Event::RejectSilent.code())
        }
        Action::Reject => VerdictCode::of(Kind::Reject),
        Action::Redirect => {
            let is_peer = record.flags & ActionRecord::PEER != 0;
            match fallback(key, pod, record) {
                Some(reason) => VerdictCode::because(Kind::FallBack, reason.code()),
                None if is_peer => VerdictCode::of(Kind::Peer),
                None => VerdictCode::of(Kind::Redirect),
            }
        }
    }
}

/// Whether the verdict depends on the pod's device, although its execution does not look it up.
#[inline(always)]
fn needs_device(kind: Kind, record: &ActionRecord) -> bool {
    let acts = matches!(kind, Kind::Drop | Kind::Reject | Kind::RejectedSilently);
    acts || record.limits()
}

/// Returns why a redirect cannot be tried. What is true of all packets of the pod comes first.
#[inline(always)]
fn fallback(key: &PacketKey, pod: &PodBlock, record: &ActionRecord) -> Option<Fallback> {
    let (obstacle, reason) = if record.flags & ActionRecord::PEER != 0 {
        (PodBlock::NO_PEER, Fallback::NoPeer)
    } else {
        (PodBlock::NOT_READY, Fallback::NotReady)
    };
    if pod.flags & obstacle != 0 {
        if pod.flags & PodBlock::NOT_PERMITTED != 0 {
            return Some(Fallback::NotPermitted);
        }
        if pod.flags & PodBlock::ADDRESS_IN_DOUBT != 0 {
            return Some(Fallback::AddressInDoubt);
        }
        Some(reason)
    } else if pod.flags & PodBlock::REPLY_PATH == 0 {
        Some(Fallback::NoReplyPath)
    } else if record.flags & ActionRecord::NOT_CERTAIN != 0 {
        Some(Fallback::NetworkPolicy)
    } else {
        needs_stack(key, pod)
    }
}

/// Returns why a packet itself needs the stack, whatever the pod's interface can take.
#[inline(always)]
fn needs_stack(key: &PacketKey, pod: &PodBlock) -> Option<Fallback> {
    if key.group_mac() != 0 {
        Some(Fallback::NotUnicast)
    } else if key.fragment() != 0 {
        Some(Fallback::Fragment)
    } else if key.ip_len() > pod.mtu {
        Some(Fallback::TooLong)
    } else if key.ttl() <= 1 {
        Some(Fallback::TimeToLive)
    } else if key.options() != 0 {
        Some(Fallback::IpOptions)
    } else if key.receiver() & Receiver::UNCERTAIN != 0 {
        Some(Fallback::PortState)
    } else {
        None
    }
}

/// Returns which packets like this one reach the pod past the stack although no rule redirects them.
#[inline(always)]
fn drain_scope(key: &PacketKey, pod: &PodBlock) -> DrainScope {
    if pod.flags & PodBlock::NOT_READY != 0 || needs_stack(key, pod).is_some() {
        DrainScope::Nothing
    } else if pod.flags & PodBlock::DRAIN != 0 {
        DrainScope::Established
    } else if key.is_icmp() && pod.flags & PodBlock::REPLY_PATH != 0 {
        DrainScope::IcmpErrors
    } else {
        DrainScope::Nothing
    }
}

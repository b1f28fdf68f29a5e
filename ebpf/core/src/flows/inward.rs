//! To a pod: whether a packet that a rule redirects may be, and which others are all the same.

use super::{
    Flows, Role, Subject, Table,
    recent::{State, Trail},
};
use crate::{
    tables::FlowKey,
    verdict::{Fallback, FlowEvent},
};

/// Whether a packet with ports is of a flow of ours that was seen a moment ago, as most are: nothing else has to be looked at
/// then to know that [`inward`] finds [`FlowEvent::Hit`].
#[inline(always)]
pub fn is_recent(key: &FlowKey, flows: &impl Flows) -> bool {
    Trail::of(key, flows).is_recent(flows)
}

/// Whether a packet that a rule redirects is one of ours: otherwise, why it is the stack's.
#[inline(always)]
pub fn inward(subject: &Subject, slot: u32, flows: &impl Flows) -> Result<FlowEvent, Fallback> {
    let key = &subject.key;
    if subject.role == Role::Other {
        return Err(Fallback::UntrackedProtocol);
    }
    let trail = Trail::of(key, flows);
    let is_error = subject.role == Role::Error;
    let hit = if is_error {
        FlowEvent::ErrorIn
    } else {
        FlowEvent::Hit
    };
    if trail.state(key, slot, flows) != State::Unknown {
        return Ok(hit);
    }
    if subject.role == Role::Datagram && flows.slot(Table::Stack, key).is_some() {
        return Err(Fallback::StackFlow);
    }
    if flows.slot(Table::Unreplied, key).is_some() {
        trail.note_young(flows);
        return Ok(hit);
    }
    if !matches!(subject.role, Role::Opens | Role::Datagram) {
        // The pod's answer may have moved it between the two look-ups.
        return match flows.slot(Table::Established, key) {
            Some(_) => Ok(hit),
            None => Err(Fallback::StackFlow),
        };
    }
    if flows.insert(Table::Unreplied, key, slot) {
        return Ok(FlowEvent::Opened);
    }
    // Without an entry the replies would leave through the stack.
    flows.note(FlowEvent::InsertFailed);
    Err(Fallback::StackFlow)
}

/// Which packets are delivered to a pod past the stack, without metadata, although no rule redirects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Carried {
    /// None.
    Nothing = 0,
    /// ICMP errors about flows of ours: the stack may drop what it cannot relate to anything, and without "packet too
    /// big" a connection stalls.
    Errors = 1,
    /// Those, and packets of flows that the pod has answered: [`crate::tables::PodBlock::DRAIN`].
    Answered = 2,
}

/// Whether this packet is one.
#[inline(always)]
pub fn carries(subject: &Subject, carried: Carried, slot: u32, flows: &impl Flows) -> Option<FlowEvent> {
    let key = &subject.key;
    let is_error = subject.role == Role::Error;
    if subject.role == Role::Other || !is_error && carried != Carried::Answered {
        return None;
    }
    let trail = Trail::of(key, flows);
    match trail.state(key, slot, flows) {
        State::Established if is_error => Some(FlowEvent::ErrorIn),
        State::Established => Some(FlowEvent::Drained),
        State::Unreplied | State::Unknown => {
            let is_ours = is_error && flows.slot(Table::Unreplied, key).is_some();
            is_ours.then_some(FlowEvent::ErrorIn)
        }
    }
}

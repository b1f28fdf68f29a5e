//! From a pod: which packets leave past the stack.

use super::{
    Flows, Role, Subject, Table, forget,
    recent::{State, Trail},
};
use crate::{
    parse::{Bytes, Packet},
    tables::{Flow, FragmentKey},
    verdict::FlowEvent,
};

/// Which way a pod's packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outward {
    /// Past the stack, if there is a way.
    Out(FlowEvent),
    /// Through the stack, and what happened to the packet's flow.
    Stack(FlowEvent),
}

/// Decides, and changes what is known about the flow. Of fragments only first ones have a subject.
#[inline(always)]
pub fn outward(subject: &Subject, flows: &impl Flows) -> Outward {
    let key = &subject.key;
    match subject.role {
        Role::Other => return Outward::Stack(FlowEvent::ReplyMiss),
        Role::Opens => {
            let event = if forget(key, flows) {
                FlowEvent::Deleted
            } else {
                FlowEvent::ReplyMiss
            };
            return Outward::Stack(event);
        }
        Role::Datagram | Role::Follows | Role::Unsettled | Role::Error => {}
    }
    let trail = Trail::of(key, flows);
    let is_error = subject.role == Role::Error;
    let sent = Outward::Out(if is_error {
        FlowEvent::ReplyIcmpError
    } else {
        FlowEvent::ReplyForwarded
    });
    if trail.state(key, Flow::NO_SLOT, flows) == State::Established {
        return sent;
    }
    let Some(slot) = flows.slot(Table::Unreplied, key) else {
        // Another packet may have moved it between the two look-ups, or the tag is older than the move.
        if flows.slot(Table::Established, key).is_some() {
            trail.establish(flows);
            return sent;
        }
        return Outward::Stack(FlowEvent::ReplyMiss);
    };
    // The new entry first: no packet may find none.
    let settles = matches!(subject.role, Role::Datagram | Role::Follows);
    if settles && flows.insert(Table::Established, key, slot) {
        flows.delete(Table::Unreplied, key);
        trail.establish(flows);
        flows.note(FlowEvent::Established);
    }
    sent
}

const IDENTIFICATION: usize = 4;
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_HEADER: usize = 40;
const FRAGMENT: u8 = 44;

/// What all fragments of a packet have in common; `None` where that is behind other extension headers.
#[inline(always)]
pub fn fragment_key<B: Bytes + ?Sized>(bytes: &B, packet: &Packet) -> Option<FragmentKey> {
    let start = packet.ip_offset();
    let (id, protocol) = if packet.source.is_v4() {
        let id = u16::from_be_bytes(bytes.read(start + IDENTIFICATION)?);
        (u32::from(id), u32::from(packet.protocol))
    } else {
        let [next] = bytes.read(start + IPV6_NEXT_HEADER)?;
        if next != FRAGMENT {
            return None;
        }
        // The identification is enough: it is not counted by protocol (RFC 8200, section 4.5).
        (
            u32::from_be_bytes(bytes.read(start + IPV6_HEADER + IDENTIFICATION)?),
            0,
        )
    };
    Some(FragmentKey {
        source: packet.source,
        destination: packet.destination,
        id,
        protocol,
    })
}

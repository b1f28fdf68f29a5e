//! Packets from a pod: which of them are replies that bypass the stack.

use super::{
    FlowMap, FlowPacket, FlowStore, PacketRole,
    cache::{CacheSlot, FlowState},
    untrack,
};
use crate::{
    events::FlowEvent,
    parse::{Bytes, Packet},
    tables::{FlowValue, FragmentKey},
};

/// The path of a packet from a pod, and the event to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyDecision {
    /// Past the stack, if there is a route.
    Forward(FlowEvent),
    /// Through the stack.
    Stack(FlowEvent),
}

/// Looks up the flow of a packet from a pod, and updates the tables. Of fragments, only first ones have a
/// flow.
#[inline(always)]
pub fn track_reply(packet: &FlowPacket, flows: &impl FlowStore) -> ReplyDecision {
    let key = &packet.key;
    match packet.role {
        PacketRole::Untracked | PacketRole::OwnEcho => return ReplyDecision::Stack(FlowEvent::ReplyMiss),
        PacketRole::New => {
            let event = if untrack(key, flows) {
                FlowEvent::Deleted
            } else {
                FlowEvent::ReplyMiss
            };
            return ReplyDecision::Stack(event);
        }
        PacketRole::Datagram | PacketRole::Data | PacketRole::Inconclusive | PacketRole::Related => {}
    }
    let cached = CacheSlot::of(key, flows);
    let is_error = packet.role == PacketRole::Related;
    let forward = ReplyDecision::Forward(if is_error {
        FlowEvent::ReplyIcmpError
    } else {
        FlowEvent::ReplyForwarded
    });
    if cached.state(key, FlowValue::NO_SLOT, flows) == FlowState::Established {
        return forward;
    }
    let Some(slot) = flows.slot(FlowMap::Unreplied, key) else {
        // Another packet may have moved the flow between the two look-ups, or the tag is older than the move.
        if flows.slot(FlowMap::Established, key).is_some() {
            cached.set_established(flows);
            return forward;
        }
        return ReplyDecision::Stack(FlowEvent::ReplyMiss);
    };
    // Insert before deleting: no packet may find neither entry.
    let is_accepted = matches!(packet.role, PacketRole::Datagram | PacketRole::Data);
    if is_accepted && flows.insert(FlowMap::Established, key, slot) {
        flows.delete(FlowMap::Unreplied, key);
        cached.set_established(flows);
        flows.count(FlowEvent::Established);
    }
    forward
}

const IDENTIFICATION: usize = 4;
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_HEADER: usize = 40;
const FRAGMENT: u8 = 44;

/// Returns what all fragments of a packet have in common. `None` if the fragment header is not the first
/// extension header.
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

//! Packets from a pod: which of them are replies that bypass the stack.

use super::{
    FlowMap, FlowPacket, FlowStore, PacketRole,
    cache::{CacheSlot, FlowState},
    untrack,
};
use crate::{events::FlowEvent, tables::FlowValue};

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
    if cached.is_answered(flows) || cached.state(key, FlowValue::NO_SLOT, flows) == FlowState::Established {
        return forward;
    }
    let Some(flow) = flows.flow(FlowMap::Unreplied, key) else {
        // Another packet may have moved the flow between the two look-ups, or the tag is older than the move.
        return if cached.is_established(key, flows) {
            forward
        } else {
            ReplyDecision::Stack(FlowEvent::ReplyMiss)
        };
    };
    answer(packet, flow, &cached, flows);
    forward
}

/// Notes that the pod answers an unreplied flow.
#[inline(always)]
fn answer(packet: &FlowPacket, flow: FlowValue, cached: &CacheSlot, flows: &impl FlowStore) {
    let key = &packet.key;
    let is_datagram = packet.role == PacketRole::Datagram;
    if !is_datagram && (packet.role != PacketRole::Data || cached.confirm(key, flow, flows)) {
        return;
    }
    if !flow.is_answered() {
        flows.set_state(FlowMap::Unreplied, key, flow.answered().state);
    }
    if is_datagram {
        cached.set_answered(flows);
    }
}

//! Packets that the stack delivers to a pod, or sends from a pod out of the node.

use super::{
    FlowMap, FlowPacket, FlowStore, PacketRole, is_tracked,
    opened::{hear, is_heard, note_delivered, note_sent},
    untrack,
};
use crate::{events::FlowEvent, parse::protocol, tables::FlowValue};

/// Updates the tables for a packet that the stack delivered to a pod.
///
/// `is_draining` returns whether the pod's tracked flows move to the stack as their packets arrive there
/// ([`crate::tables::PodBlock::DRAIN`], or no rules any more). It is called only where it matters.
#[inline(always)]
pub fn stack_delivered(
    packet: &FlowPacket,
    is_draining: impl Fn() -> bool,
    flows: &impl FlowStore,
) -> Option<FlowEvent> {
    note_delivered(packet, flows);
    let event = match packet.role {
        PacketRole::New | PacketRole::Datagram => FlowEvent::ReclaimedByStack,
        PacketRole::Data | PacketRole::Inconclusive if is_draining() => FlowEvent::Deleted,
        PacketRole::Data
        | PacketRole::Inconclusive
        | PacketRole::Related
        | PacketRole::Untracked
        | PacketRole::OwnEcho => return None,
    };
    untrack(&packet.key, flows).then_some(event)
}

/// Updates the tables for a pod's packet that left the node through the stack, with these addresses: packets
/// in the other direction of a flow of datagrams are the stack's.
///
/// That is not so if a remote host opened the flow, and the stack delivers its datagrams: each of those may
/// be tracked as well. So answers to datagrams for which a pod has no share fill no table, and evict no flows
/// of other pods there.
#[inline(always)]
pub fn stack_sent(packet: &FlowPacket, flows: &impl FlowStore) -> Option<FlowEvent> {
    let key = &packet.key;
    let is_datagram = packet.role == PacketRole::Datagram && key.protocol == u32::from(protocol::UDP);
    if !is_datagram
        || flows.flow(FlowMap::Stack, key).is_some()
        || is_heard(key, flows) && !is_tracked(key, flows)
    {
        note_sent(packet, flows);
        return None;
    }
    if !flows.insert(FlowMap::Stack, key, FlowValue::default()) {
        flows.count(FlowEvent::InsertFailed);
    }
    if untrack(key, flows) {
        // The remote host opened the flow.
        hear(key, flows);
    } else {
        note_sent(packet, flows);
    }
    Some(FlowEvent::StackFlowNoted)
}

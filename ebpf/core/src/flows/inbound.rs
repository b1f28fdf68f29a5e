//! Packets to a pod: which of them belong to tracked flows.

use super::{
    FlowMap, FlowPacket, FlowStore, PacketRole,
    cache::{CacheSlot, FlowState},
    opened::hear,
    share::Opening,
};
use crate::{
    events::{Fallback, FlowEvent},
    tables::FlowKey,
};

/// Whether the cache shows that a packet with ports belongs to a tracked flow. That is so for most packets;
/// [`track_inbound`] would return [`FlowEvent::Hit`] for them.
#[inline(always)]
pub fn is_recent(key: &FlowKey, flows: &impl FlowStore) -> bool {
    CacheSlot::of(key, flows).is_recent(flows)
}

/// Looks up the flow of a packet that a rule redirects, and inserts a new flow. Fails if the flow is the
/// stack's, or may not be opened: `admit` checks the source of a packet that would open a flow, and of ICMP
/// errors, whose source is not that of the flow.
#[inline(always)]
pub fn track_inbound(
    packet: &FlowPacket,
    slot: u32,
    flows: &impl FlowStore,
    admit: impl Fn() -> Result<(), Fallback>,
) -> Result<FlowEvent, Fallback> {
    let key = &packet.key;
    if matches!(packet.role, PacketRole::Untracked | PacketRole::OwnEcho) {
        return Err(Fallback::UntrackedProtocol);
    }
    let cached = CacheSlot::of(key, flows);
    let is_error = packet.role == PacketRole::Related;
    if is_error {
        admit()?;
    }
    let hit = if is_error {
        FlowEvent::ErrorIn
    } else {
        FlowEvent::Hit
    };
    if cached.state(key, slot, flows) != FlowState::Unknown {
        return Ok(hit);
    }
    if packet.role == PacketRole::Datagram && flows.flow(FlowMap::Stack, key).is_some() {
        return Err(Fallback::StackFlow);
    }
    if let Some(flow) = flows.flow(FlowMap::Unreplied, key) {
        if !flow.is_answered() {
            cached.set_unreplied(flows);
        } else if matches!(packet.role, PacketRole::Datagram | PacketRole::Data) {
            cached.confirm(key, flow, flows);
        }
        return Ok(hit);
    }
    if !matches!(packet.role, PacketRole::New | PacketRole::Datagram) {
        // The pod's reply may have moved the flow between the two look-ups.
        return match flows.flow(FlowMap::Established, key) {
            Some(_) => Ok(hit),
            None => Err(Fallback::StackFlow),
        };
    }
    admit()?;
    if packet.role == PacketRole::Datagram {
        hear(key, flows);
    }
    // Without an entry, the replies would leave through the stack.
    match flows.open(key, slot) {
        Opening::Inserted => Ok(FlowEvent::Opened),
        Opening::OverLimit => Err(Fallback::FlowLimit),
        Opening::Failed => {
            flows.count(FlowEvent::InsertFailed);
            Err(Fallback::StackFlow)
        }
    }
}

/// Which packets reach a pod past the stack although no rule redirects them. They carry no metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum DrainScope {
    /// None.
    Nothing = 0,
    /// ICMP errors about tracked flows. The stack may drop them as `INVALID`, and without "packet too big" a
    /// connection stalls.
    IcmpErrors = 1,
    /// ICMP errors, and packets of established flows: [`crate::tables::PodBlock::DRAIN`].
    Established = 2,
}

/// Looks up whether a packet that no rule redirects belongs to a tracked flow in `scope`.
#[inline(always)]
pub fn drains(
    packet: &FlowPacket,
    scope: DrainScope,
    slot: u32,
    flows: &impl FlowStore,
) -> Option<FlowEvent> {
    let key = &packet.key;
    let is_error = packet.role == PacketRole::Related;
    let is_untracked = matches!(packet.role, PacketRole::Untracked | PacketRole::OwnEcho);
    if is_untracked || !is_error && scope != DrainScope::Established {
        return None;
    }
    let cached = CacheSlot::of(key, flows);
    match cached.state(key, slot, flows) {
        FlowState::Established if is_error => Some(FlowEvent::ErrorIn),
        FlowState::Established => Some(FlowEvent::Drained),
        FlowState::Unreplied | FlowState::Unknown => {
            let is_tracked = is_error && flows.flow(FlowMap::Unreplied, key).is_some();
            is_tracked.then_some(FlowEvent::ErrorIn)
        }
    }
}

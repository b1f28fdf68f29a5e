//! Observes what the stack does with flows.

use aya_ebpf::programs::TcContext;
use xdp_core::{
    events::FlowEvent,
    flows::{self, Direction, FlowPacket, PacketRole, TransportView},
    parse::{self, Bytes, Packet},
    tables::{Address, PodBlock, REPLY_PATH_MARK},
    verdict,
};

use crate::{
    counters,
    flows::{FlowMaps, store},
    skb::Skb,
    tables,
};

/// The stack delivers a packet to a pod.
#[inline(always)]
pub(crate) fn delivered(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if let Ok(packet) = parse::parse(&skb) {
        count(&skb, &packet, Direction::ToPod, |packet, maps| {
            flows::stack_delivered(packet, || is_draining(&packet.key.pod), maps)
        });
    }
}

/// Whether the tracked flows of the pod with this address move to the stack.
#[inline(always)]
fn is_draining(address: &Address) -> bool {
    verdict::pod(address, &tables::RuleMaps).is_none_or(|pod| pod.flags & PodBlock::DRAIN != 0)
}

/// A packet leaves the node by a NIC. The mark shows that it bypassed the stack; the mark is cleared.
#[inline(always)]
pub(crate) fn sent(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if skb.mark() == REPLY_PATH_MARK {
        ctx.set_mark(0);
        return;
    }
    if let Ok(packet) = parse::parse(&skb)
        && packet.protocol == UDP
        && verdict::pod(&packet.source, &tables::RuleMaps).is_some()
    {
        count(&skb, &packet, Direction::FromPod, |packet, maps| {
            (packet.role == PacketRole::Datagram)
                .then(|| flows::stack_sent(packet, maps))
                .flatten()
        });
    }
}

const UDP: u8 = 17;

/// Updates the maps of flows, and counts the event.
#[inline(always)]
fn count(
    skb: &Skb<'_>,
    packet: &Packet,
    direction: Direction,
    update: impl FnOnce(&FlowPacket, &FlowMaps) -> Option<FlowEvent>,
) {
    let bytes = skb.length() as u64;
    let view = TransportView::of(skb, packet);
    let packet = store(FlowPacket::of(skb, &view, direction));
    if let (Some(packet), Some(maps)) = (packet, FlowMaps::new(bytes))
        && let Some(event) = update(packet, &maps)
    {
        counters::event(event.code(), bytes);
    }
}

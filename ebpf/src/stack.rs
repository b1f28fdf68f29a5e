//! What the stack does with flows.

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
    flows::{FlowMaps, settled},
    skb::Skb,
    tables,
};

/// It delivers a packet to a pod.
#[inline(always)]
pub(crate) fn delivered(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if let Ok(packet) = parse::parse(&skb) {
        count(&skb, &packet, Direction::ToPod, |subject, kernel| {
            flows::stack_delivered(subject, || is_leaving(&subject.key.pod), kernel)
        });
    }
}

/// Whether the stack is to be given the flows of the pod with this address.
#[inline(always)]
fn is_leaving(address: &Address) -> bool {
    verdict::pod(address, &tables::RuleMaps).is_none_or(|pod| pod.flags & PodBlock::DRAIN != 0)
}

/// It sends a packet out by a NIC, or is past: the mark says so, and is nobody else's business.
#[inline(always)]
pub(crate) fn departed(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if skb.mark() == REPLY_PATH_MARK {
        ctx.set_mark(0);
        return;
    }
    if let Ok(packet) = parse::parse(&skb)
        && packet.protocol == UDP
        && verdict::pod(&packet.source, &tables::RuleMaps).is_some()
    {
        count(
            &skb,
            &packet,
            Direction::FromPod,
            |subject, kernel| match subject.role {
                PacketRole::Datagram => flows::stack_sent(subject, kernel),
                _ => None,
            },
        );
    }
}

const UDP: u8 = 17;

#[inline(always)]
fn count(
    skb: &Skb<'_>,
    packet: &Packet,
    way: Direction,
    happens: impl FnOnce(&FlowPacket, &FlowMaps) -> Option<FlowEvent>,
) {
    let bytes = skb.length() as u64;
    let segment = TransportView::of(skb, packet);
    let subject = settled(FlowPacket::of(skb, &segment, way));
    if let (Some(subject), Some(kernel)) = (subject, FlowMaps::new(bytes))
        && let Some(event) = happens(subject, &kernel)
    {
        counters::event(event.code(), bytes);
    }
}

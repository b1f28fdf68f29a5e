//! Observes what the stack does with flows.

use aya_ebpf::programs::TcContext;
use xdp_core::{
    events::FlowEvent,
    flows::{self, Direction, FlowPacket, TransportView},
    parse::{self, Bytes, Packet},
    verdict::Holder,
};

use crate::{
    counters,
    flows::{FlowMaps, store},
    sent::{is_sent, sent_packet},
    skb::Skb,
    tables,
};

/// The stack delivers a packet to a pod. Packets for the address of another pod change nothing.
#[inline(always)]
pub(crate) fn delivered(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    let Ok(packet) = parse::parse(&skb) else {
        return;
    };
    // Whether the tracked flows of the pod move to the stack.
    let is_draining = match tables::holder(&packet.destination, skb.interface()) {
        Holder::Pod => false,
        Holder::DrainingPod | Holder::Absent => true,
        Holder::AnotherPod => return,
    };
    count(&skb, &packet, Direction::ToPod, |packet, maps| {
        flows::stack_delivered(packet, || is_draining, maps)
    });
}

/// A packet leaves the node by a NIC.
#[inline(always)]
pub(crate) fn sent(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if tables::config().is_some_and(|config| skb.take_signature(config.seed)) {
        return;
    }
    if let Ok(packet) = parse::parse(&skb)
        && matches!(packet.protocol, ICMP | TCP | UDP | ICMPV6 | SCTP)
    {
        let ip_len = packet.ip_len;
        // A routed packet comes from the pod's interface. Behind a bridge, which can be between, only the
        // program on the pod's interface knows the sender.
        let is_routed = match tables::holder(&packet.source, skb.came_from()) {
            Holder::Pod | Holder::DrainingPod => true,
            Holder::AnotherPod => false,
            Holder::Absent => return,
        };
        count(&skb, &packet, Direction::FromPod, |packet, maps| {
            let sent = sent_packet(&packet.key, ip_len);
            // A bridge, or a queue before the NIC, overwrites the signature.
            let bypasses = is_sent(&sent.forwarded());
            let is_own = !bypasses && (is_routed || is_sent(&sent));
            is_own.then(|| flows::stack_sent(packet, maps)).flatten()
        });
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

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

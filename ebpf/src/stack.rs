//! What the stack does with flows.

use aya_ebpf::programs::TcContext;
use xdp_core::{
    flows::{
        Role, Segment, Subject, Way, {self},
    },
    parse::{
        Bytes, Packet, {self},
    },
    tables::{Address, PodBlock, REPLY_PATH_MARK},
    verdict::{
        FlowEvent, {self},
    },
};

use crate::{
    counters,
    flows::{Kernel, settled},
    skb::Skb,
    tables,
};

/// It delivers a packet to a pod.
#[inline(always)]
pub(crate) fn delivered(ctx: &TcContext) {
    let skb = Skb::new(ctx);
    if let Ok(packet) = parse::parse(&skb) {
        count(&skb, &packet, Way::In, |subject, kernel| {
            flows::delivered(subject, || is_leaving(&subject.key.pod), kernel)
        });
    }
}

/// Whether the stack is to be given the flows of the pod with this address.
#[inline(always)]
fn is_leaving(address: &Address) -> bool {
    verdict::pod(address, &tables::Kernel).is_none_or(|pod| pod.flags & PodBlock::DRAIN != 0)
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
        && verdict::pod(&packet.source, &tables::Kernel).is_some()
    {
        count(&skb, &packet, Way::Out, |subject, kernel| match subject.role {
            Role::Datagram => flows::departed(subject, kernel),
            _ => None,
        });
    }
}

const UDP: u8 = 17;

#[inline(always)]
fn count(
    skb: &Skb<'_>,
    packet: &Packet,
    way: Way,
    happens: impl FnOnce(&Subject, &Kernel) -> Option<FlowEvent>,
) {
    let bytes = skb.length() as u64;
    let segment = Segment::of(skb, packet);
    let subject = settled(Subject::of(skb, &segment, way));
    if let (Some(subject), Some(kernel)) = (subject, Kernel::new(bytes))
        && let Some(event) = happens(subject, &kernel)
    {
        counters::event(event.code(), bytes);
    }
}

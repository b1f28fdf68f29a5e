//! Delivery `Peer`: the NIC's tc ingress program delivers the packets that the XDP program marked with
//! metadata.

use aya_ebpf::programs::TcContext;
use xdp_core::metadata::Metadata;

use crate::{
    packet,
    reader::NEXT,
    skb::{clear_tag, is_tagged_twice, redirect_peer},
};

/// Delivers a packet into its pod. If that is not possible, the packet passes to the stack.
///
/// Before this program, the kernel or the NIC removes one VLAN tag: the pod gets the packet without it. If
/// there is a second tag, removing the first one would separate the packet from its metadata (before Linux
/// 6.19).
///
/// Packet sockets share the bytes of a packet. The kernel copies such a packet before it is written to, and
/// before Linux 6.19 the copy has no metadata. Then the packet passes, too.
#[inline(always)]
pub(crate) fn deliver(ctx: &TcContext) -> i32 {
    let Some((device, metadata)) = packet::read_metadata(ctx).and_then(Metadata::take_peer) else {
        return NEXT;
    };
    if is_tagged_twice(ctx) || packet::write_metadata(ctx, &metadata).is_none() || !clear_tag(ctx) {
        return NEXT;
    }
    redirect_peer(device)
}

//! Delivery behind the NIC's stack entry: of packets that the program in front of it marked for a pod.

use aya_ebpf::programs::TcContext;
use xdp_core::metadata::Metadata;

use crate::{frame, reader::NEXT};

/// Into the pod, or on into the stack if anything is missing.
///
/// The kernel takes one VLAN tag off a packet before this program runs, or the NIC has: the pod gets it without. With a
/// second tag, taking the first one off would move the packet away from its metadata (before Linux 6.19).
#[inline(always)]
pub(crate) fn deliver(ctx: &TcContext) -> i32 {
    let Some((device, metadata)) = frame::metadata(ctx).and_then(Metadata::take_peer) else {
        return NEXT;
    };
    if frame::is_tagged_twice(ctx) || frame::write_metadata(ctx, &metadata).is_none() || !frame::untag(ctx) {
        return NEXT;
    }
    frame::redirect_peer(device)
}

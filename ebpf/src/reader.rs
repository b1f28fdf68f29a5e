//! On the pod's eth0: from metadata to `skb->mark`.

use aya_ebpf::programs::TcContext;

use crate::{counters, frame};

/// `TCX_NEXT`, and `TC_ACT_UNSPEC` for clsact: whatever else is attached has its say.
pub(crate) const NEXT: i32 = -1;

/// A packet without metadata was not classified and is left alone.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext) {
    let Some(metadata) = frame::metadata(ctx) else {
        return;
    };
    if let Some(mark) = metadata.mark() {
        ctx.skb.set_mark(mark);
    }
    let (packets, bytes) = frame::size(ctx);
    counters::delivered(metadata.rule(), packets, bytes);
}

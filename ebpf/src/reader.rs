//! The reader on a pod's eth0: copies the mark from the metadata to `skb->mark`, under the administrator's
//! mask.

use aya_ebpf::programs::TcContext;
use xdp_core::{events::Event, metadata::set_mark};

use crate::{
    counters, packet,
    skb::{self, Skb},
    tables,
};

/// `TCX_NEXT`, which clsact reads as `TC_ACT_UNSPEC`: the next program, if any, decides.
pub(crate) const NEXT: i32 = -1;

/// Leaves a packet without metadata unchanged: it was not classified.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext) {
    let Some(metadata) = packet::read_metadata(ctx) else {
        return;
    };
    if let (Some(mark), Some(config)) = (metadata.mark(), tables::config()) {
        let present = Skb::new(ctx).mark();
        ctx.skb.set_mark(set_mark(present, mark, config.mark_mask));
    }
    let (packets, bytes) = skb::size(ctx);
    // The agent writes the interface's address into the tables; not while it is stopped.
    if skb::claim(ctx) {
        counters::events(Event::StaleMacAddress.code(), packets, bytes);
    }
    counters::delivered(metadata.rule(), packets, bytes);
}

//! Turns a rejected packet into its answer.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use xdp_core::reject::{self, Offender};
use xdp_core::verdict::{Decision, Event, Kind, Outcome};

use crate::frame::Frame;

/// What is left of a packet after a failure is dropped: its rule says that it goes nowhere.
#[inline(always)]
pub(crate) fn execute(ctx: &XdpContext, decision: &Decision<'_>) -> Outcome {
    if decision
        .offender()
        .is_some_and(|offender| turn(ctx.ctx, &offender))
    {
        decision.outcome
    } else {
        Outcome::because(Kind::Unanswered, Event::RejectFailed.code())
    }
}

/// A function of its own, with a stack of its own: few packets need it.
#[inline(never)]
fn turn(ctx: *mut xdp_md, offender: &Offender) -> bool {
    let ctx = XdpContext::new(ctx);
    reject::turn(&mut Frame::new(&ctx), offender).is_some()
}

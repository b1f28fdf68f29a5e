//! Turns a rejected packet into its answer.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xdp_core::{
    events::Event,
    reject::{self, Offender},
    verdict::{Decision, Kind, VerdictCode},
};

use crate::frame::Frame;

/// What is left of a packet after a failure is dropped: its rule says that it goes nowhere.
#[inline(always)]
pub(crate) fn execute(ctx: &XdpContext, decision: &Decision<'_>) -> VerdictCode {
    if decision
        .offender()
        .is_some_and(|offender| turn_around(ctx, offender))
    {
        decision.outcome
    } else {
        VerdictCode::because(Kind::RejectedSilently, Event::RejectFailed.code())
    }
}

#[inline(always)]
fn turn_around(ctx: &XdpContext, offender: Offender) -> bool {
    let [tags, upper, ip_len, answer] = offender.numbers();
    turn(ctx.ctx, tags, upper, ip_len, answer) != 0
}

/// A function of its own, with a stack of its own: few packets need it. The verifier looks at it once: it is global, and its
/// arguments can be any numbers.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn turn(ctx: *mut xdp_md, tags: u32, upper: u32, ip_len: u32, answer: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let offender = Offender::from_numbers([tags, upper, ip_len, answer]);
    let turned = offender.and_then(|offender| reject::turn(&mut Frame::new(&ctx), &offender));
    u32::from(turned.is_some())
}

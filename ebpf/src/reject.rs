//! Turns a rejected packet into its answer.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xdp_core::{
    reject::{
        Offender, {self},
    },
    verdict::Decision,
};

use crate::frame::Frame;

/// Turns the packet into its answer. Returns whether that succeeded: if not, the packet can only be dropped.
#[inline(always)]
pub(crate) fn execute(ctx: &XdpContext, decision: &Decision<'_>) -> bool {
    decision
        .offender()
        .is_some_and(|offender| turn_around(ctx, offender))
}

#[inline(always)]
fn turn_around(ctx: &XdpContext, offender: Offender) -> bool {
    let [tags, upper, ip_len, answer] = offender.numbers();
    turn(ctx.ctx, tags, upper, ip_len, answer) != 0
}

/// A function with a stack of its own, because few packets need it. A global function, which the verifier
/// checks once, for any arguments.
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

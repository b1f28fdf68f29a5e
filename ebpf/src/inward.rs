//! Whether packets to a pod are of a flow of ours.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use xdp_core::flows::{self, Carried, Place, Segment, Shape, Subject, Way};
use xdp_core::parse::Bytes;
use xdp_core::verdict::{Decision, Fallback, FlowEvent, Kind, Outcome};

use crate::flows::{Kernel, settled};
use crate::frame::Frame;
use crate::{counters, redirect};

/// Asked about what a rule redirects; others are asked about by [`Carried`].
const REDIRECTED: u32 = 3;
/// No code.
const NO: u32 = 0;

/// What becomes of a packet that a rule redirects.
#[inline(always)]
pub(crate) fn confirm(ctx: &XdpContext, decision: &Decision<'_>, outcome: Outcome) -> Outcome {
    if cfg!(feature = "without-flows") {
        return outcome;
    }
    let code = judge(ctx, decision, REDIRECTED);
    if code >= FlowEvent::Hit.code() {
        Outcome::because(outcome.kind, code)
    } else {
        Outcome::because(Kind::FallBack, code)
    }
}

/// Delivers a packet past the stack although no rule says so, if it belongs to a flow of ours; whether it did.
#[inline(always)]
pub(crate) fn carry(ctx: &XdpContext, decision: &Decision<'_>, outcome: Outcome) -> bool {
    let carried = decision.carried(outcome.kind);
    if carried == Carried::Nothing {
        return false;
    }
    let bytes = Frame::new(ctx).length() as u64;
    let code = judge(ctx, decision, carried as u32);
    if code == NO || redirect::carry(ctx, decision).is_none() {
        return false;
    }
    counters::count(decision.rule(), outcome, bytes);
    counters::event(code, bytes);
    true
}

#[inline(always)]
fn judge(ctx: &XdpContext, decision: &Decision<'_>, asked: u32) -> u32 {
    let place = decision.place();
    let (upper, slot) = (place.upper, decision.trace.slot);
    let rest = u64::from(place.ip_len) << 32 | u64::from(asked);
    if place.shape.is_icmp() {
        judge_icmp(ctx.ctx, place.shape.0, upper, rest, slot)
    } else {
        judge_ports(ctx.ctx, place.shape.0, upper, rest, slot)
    }
}

/// TCP, UDP, SCTP. A function that the verifier looks at once, whatever led to it: it is global, and its arguments can be any
/// numbers.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_ports(ctx: *mut xdp_md, shape: u32, upper: u32, rest: u64, slot: u32) -> u32 {
    judge_as(ctx, shape, upper, rest, slot, |frame, segment, way| {
        Subject::of_ports(frame, segment, way)
    })
}

/// ICMP. The same.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_icmp(ctx: *mut xdp_md, shape: u32, upper: u32, rest: u64, slot: u32) -> u32 {
    judge_as(ctx, shape, upper, rest, slot, |frame, segment, way| {
        Subject::of_icmp(frame, segment, way)
    })
}

#[inline(always)]
fn judge_as(
    ctx: *mut xdp_md,
    shape: u32,
    upper: u32,
    rest: u64,
    slot: u32,
    subject: impl FnOnce(&Frame<'_>, &Segment, Way) -> Subject,
) -> u32 {
    let ctx = XdpContext::new(ctx);
    let frame = Frame::new(&ctx);
    let asked = rest as u32;
    let place = Place {
        shape: Shape(shape),
        upper,
        ip_len: (rest >> 32) as u32,
    };
    let nothing = if asked == REDIRECTED {
        Fallback::NoWayBack.code()
    } else {
        NO
    };
    let Some(segment) = Segment::at(&frame, place) else {
        return nothing;
    };
    let subject = settled(subject(&frame, &segment, Way::In));
    let (Some(subject), Some(kernel)) = (subject, Kernel::new(frame.length() as u64)) else {
        return nothing;
    };
    if asked == REDIRECTED {
        return match flows::inward(subject, slot, &kernel) {
            Ok(event) => event.code(),
            Err(reason) => reason.code(),
        };
    }
    let carried = if asked == Carried::Answered as u32 {
        Carried::Answered
    } else {
        Carried::Errors
    };
    flows::carries(subject, carried, slot, &kernel).map_or(NO, FlowEvent::code)
}

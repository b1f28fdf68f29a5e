//! Whether packets to a pod are of a flow of ours.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{self, Direction, DrainScope, FlowPacket, TransportView},
    key::PacketKey,
    parse::Bytes,
    verdict::{Decision, Kind, VerdictCode},
};

use crate::{
    counters,
    flows::{FlowMaps, key, settled},
    frame::Frame,
    redirect,
};

/// Asked about what a rule redirects; others are asked about by [`DrainScope`].
const REDIRECTED: u32 = 3;
/// No code.
const NO: u32 = 0;

/// What becomes of a packet that a rule redirects.
#[inline(always)]
pub(crate) fn confirm(ctx: &XdpContext, decision: &Decision<'_>, outcome: VerdictCode) -> VerdictCode {
    if cfg!(feature = "without-flows") {
        return outcome;
    }
    if is_recent(decision) {
        return VerdictCode::because(outcome.kind, FlowEvent::Hit.code());
    }
    let code = judge(ctx, decision, REDIRECTED);
    if code >= FlowEvent::Hit.code() {
        VerdictCode::because(outcome.kind, code)
    } else {
        VerdictCode::because(Kind::FallBack, code)
    }
}

/// What most packets are, without a call.
#[inline(always)]
fn is_recent(decision: &Decision<'_>) -> bool {
    let flow = decision.key().and_then(PacketKey::flow);
    // It notes nothing.
    let kernel = FlowMaps::new(0);
    matches!((flow, kernel), (Some(flow), Some(kernel)) if flows::is_recent(flow, &kernel))
}

/// Delivers a packet past the stack although no rule says so, if it belongs to a flow of ours; whether it did.
#[inline(always)]
pub(crate) fn carry(ctx: &XdpContext, decision: &Decision<'_>, outcome: VerdictCode) -> bool {
    let carried = decision.drain_scope(outcome.kind);
    if carried == DrainScope::Nothing {
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
    let slot = decision.trace.slot;
    if decision.key().is_some_and(PacketKey::is_icmp) {
        judge_icmp(ctx.ctx, asked, slot)
    } else {
        judge_ports(ctx.ctx, asked, slot)
    }
}

/// TCP, UDP, SCTP. A function that the verifier looks at once, whatever led to it: it is global, and its arguments can be any
/// numbers. The packet's key is in its map.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_ports(ctx: *mut xdp_md, asked: u32, slot: u32) -> u32 {
    judge_as(ctx, asked, slot, |frame, segment, way| {
        FlowPacket::of_ports(frame, segment, way)
    })
}

/// ICMP. The same.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_icmp(ctx: *mut xdp_md, asked: u32, slot: u32) -> u32 {
    judge_as(ctx, asked, slot, |frame, segment, way| {
        FlowPacket::of_icmp(frame, segment, way)
    })
}

#[inline(always)]
fn judge_as(
    ctx: *mut xdp_md,
    asked: u32,
    slot: u32,
    subject: impl FnOnce(&Frame<'_>, &TransportView, Direction) -> FlowPacket,
) -> u32 {
    let ctx = XdpContext::new(ctx);
    let frame = Frame::new(&ctx);
    let nothing = if asked == REDIRECTED {
        Fallback::NoReplyPath.code()
    } else {
        NO
    };
    let Some(key) = key() else {
        return nothing;
    };
    let subject = settled(subject(&frame, &key.view(), Direction::ToPod));
    let (Some(subject), Some(kernel)) = (subject, FlowMaps::new(frame.length() as u64)) else {
        return nothing;
    };
    if asked == REDIRECTED {
        return match flows::track_inbound(subject, slot, &kernel) {
            Ok(event) => event.code(),
            Err(reason) => reason.code(),
        };
    }
    let carried = if asked == DrainScope::Established as u32 {
        DrainScope::Established
    } else {
        DrainScope::IcmpErrors
    };
    flows::drains(subject, carried, slot, &kernel).map_or(NO, FlowEvent::code)
}

//! Looks up the flows of packets to pods. Nothing here changes a packet.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{
        Direction, DrainScope, FlowPacket, TransportView, {self},
    },
    key::PacketKey,
    parse::Bytes,
    verdict::{Decision, Kind, VerdictCode},
};

use crate::{
    flows::{Context, FlowMaps, is_opened, key, store},
    frame::{
        Frame, {self},
    },
    routes,
};

/// Look-up of a packet that a rule redirects; the others are those of [`DrainScope`].
const REDIRECTED: u32 = 3;
/// Look-up of a packet that a rule drops.
const DROPPED: u32 = 4;
/// The packet belongs to no tracked flow in the scope.
const UNTRACKED: u32 = 0;

/// Looks up the flow of a packet that a rule redirects. Returns the code of a [`FlowEvent`], or of the
/// [`Fallback`].
#[inline(always)]
pub(crate) fn track(ctx: &XdpContext, decision: &Decision<'_>) -> Result<u32, u32> {
    if is_recent(decision) {
        return Ok(FlowEvent::Hit.code());
    }
    let code = look_up(ctx, decision, REDIRECTED);
    // Fallbacks have codes on both sides of those of flows.
    if code < FlowEvent::Hit.code() || code > FlowEvent::ErrorIn.code() {
        Err(code)
    } else {
        Ok(code)
    }
}

/// Whether the cache shows that the packet belongs to a tracked flow. That is so for most packets, and needs
/// no call.
#[inline(always)]
fn is_recent(decision: &Decision<'_>) -> bool {
    let flow = decision.key().and_then(PacketKey::flow);
    // The look-up counts no events, so the number of bytes does not matter.
    let maps = FlowMaps::new(0);
    matches!((flow, maps), (Some(flow), Some(maps)) if flows::is_recent(flow, &maps))
}

/// Looks up the flow of a packet that no rule redirects. The verdict becomes [`Kind::Drained`] if the flow is
/// tracked.
#[inline(always)]
pub(crate) fn drain(ctx: &XdpContext, decision: &Decision<'_>, verdict: VerdictCode) -> VerdictCode {
    let scope = decision.drain_scope(verdict.kind);
    if scope == DrainScope::Nothing {
        return verdict;
    }
    match look_up(ctx, decision, scope as u32) {
        UNTRACKED => verdict,
        code => VerdictCode::because(Kind::Drained, code),
    }
}

/// Lets a packet pass that is dropped otherwise, if it belongs to a connection that the pod opened. A rate
/// limit has counted it already, if there is one.
#[inline(always)]
pub(crate) fn spare(ctx: &XdpContext, decision: &Decision<'_>, verdict: VerdictCode) -> VerdictCode {
    let asks = verdict.kind.drops() && !cfg!(feature = "without-flows");
    if !asks || may_be_own() == 0 {
        return verdict;
    }
    let mut spared = match look_up(ctx, decision, DROPPED) {
        UNTRACKED => verdict,
        code => VerdictCode::because(Kind::OwnConnection, code),
    };
    frame::opaque_verdict(ctx, &mut spared);
    spared
}

/// Whether the packet may belong to a connection that the pod opened. Hardly any packet of a flood does. A
/// global function, as those below.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn may_be_own() -> u32 {
    let Some(key) = key(Context::Nic as u32) else {
        return 0;
    };
    u32::from(match (key.flow(), FlowMaps::new(0)) {
        (Some(flow), Some(maps)) => flows::may_be_opened_by_pod(flow, &maps),
        _ => key.is_icmp_answer(),
    })
}

#[inline(always)]
fn look_up(ctx: &XdpContext, decision: &Decision<'_>, scope: u32) -> u32 {
    let slot = decision.trace.slot;
    if decision.key().is_some_and(PacketKey::is_icmp) {
        look_up_icmp(ctx.ctx, scope, slot)
    } else {
        look_up_ports(ctx.ctx, scope, slot)
    }
}

/// Looks up flows of TCP, UDP and SCTP. A global function, which the verifier checks once, for any arguments.
/// The packet's key is in its map.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_up_ports(ctx: *mut xdp_md, scope: u32, slot: u32) -> u32 {
    look_up_as(ctx, scope, slot, |frame, view, direction| {
        FlowPacket::of_ports(frame, view, direction)
    })
}

/// Looks up flows of ICMP, and of the packets that ICMP errors quote. Also a global function.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_up_icmp(ctx: *mut xdp_md, scope: u32, slot: u32) -> u32 {
    look_up_as(ctx, scope, slot, |frame, view, direction| {
        FlowPacket::of_icmp(frame, view, direction)
    })
}

#[inline(always)]
fn look_up_as(
    ctx: *mut xdp_md,
    scope: u32,
    slot: u32,
    flow_packet: impl FnOnce(&Frame<'_>, &TransportView, Direction) -> FlowPacket,
) -> u32 {
    let ctx = XdpContext::new(ctx);
    let frame = Frame::new(&ctx);
    let failed = if scope == REDIRECTED {
        Fallback::NoReplyPath.code()
    } else {
        UNTRACKED
    };
    let Some(key) = key(Context::Nic as u32) else {
        return failed;
    };
    let admit = || routes::admitted(&ctx, Context::Nic);
    let packet = store(flow_packet(&frame, &key.view(), Direction::ToPod));
    let (Some(packet), Some(maps)) = (packet, FlowMaps::new(frame.length() as u64)) else {
        return failed;
    };
    if scope == REDIRECTED {
        return match flows::track_inbound(packet, slot, &maps, admit) {
            Ok(event) => event.code(),
            Err(reason) => reason.code(),
        };
    }
    if scope == DROPPED {
        return if is_opened() == 0 {
            UNTRACKED
        } else {
            FlowEvent::OwnConnection.code()
        };
    }
    let scope = if scope == DrainScope::Established as u32 {
        DrainScope::Established
    } else {
        DrainScope::IcmpErrors
    };
    match flows::drains(packet, scope, slot, &maps) {
        Some(FlowEvent::ErrorIn) if admit().is_err() => UNTRACKED,
        event => event.map_or(UNTRACKED, FlowEvent::code),
    }
}

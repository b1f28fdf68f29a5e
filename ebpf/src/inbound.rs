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
    flows::{Context, FlowMaps, key, store},
    fragments,
    frame::Frame,
    opened::is_opened,
    routes,
};

/// Look-up of a packet that a rule redirects; the others are those of [`DrainScope`].
const REDIRECTED: u32 = 3;
/// Look-up of a packet that a rule drops.
const DROPPED: u32 = 4;
/// No look-up is needed: the packet belongs to a connection that the pod opened.
const OWN: u32 = 5;
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
/// tracked and the pod is draining. It becomes [`Kind::OwnConnection`] instead of a drop if the pod opened
/// the connection; a rate limit has counted the packet already, if there is one.
#[inline(always)]
pub(crate) fn keep(ctx: &XdpContext, decision: &Decision<'_>, verdict: VerdictCode) -> VerdictCode {
    let scope = scope(ctx, decision, verdict.kind);
    if scope == DrainScope::Nothing as u32 {
        return verdict;
    }
    let code = if scope == OWN {
        FlowEvent::OwnConnection.code()
    } else {
        look_up(ctx, decision, scope)
    };
    if code == UNTRACKED {
        verdict
    } else if scope >= DROPPED {
        VerdictCode::because(Kind::OwnConnection, code)
    } else {
        VerdictCode::because(Kind::Drained, code)
    }
}

/// Returns for what a packet with a verdict of this kind is looked up.
#[inline(always)]
fn scope(ctx: &XdpContext, decision: &Decision<'_>, kind: Kind) -> u32 {
    if !kind.drops() {
        decision.drain_scope(kind) as u32
    } else if cfg!(feature = "without-flows") || !may_be_own(decision) {
        DrainScope::Nothing as u32
    } else if decision.key().is_some_and(PacketKey::is_fragment) {
        own_fragment(ctx.ctx)
    } else {
        DROPPED
    }
}

/// Whether the packet may belong to a connection that the pod opened. Hardly any packet of a flood does.
#[inline(always)]
fn may_be_own(decision: &Decision<'_>) -> bool {
    let Some(key) = decision.key() else {
        return false;
    };
    match (key.flow(), FlowMaps::new(0)) {
        (Some(flow), Some(maps)) => flows::may_be_opened_by_pod(flow, &maps),
        _ => key.is_icmp_answer() || key.is_portless_fragment(),
    }
}

/// Returns [`DROPPED`] if a first fragment may belong to a connection that the pod opened, and [`OWN`] if a
/// later one does. A global function, as those below.
#[expect(
    unsafe_code,
    reason = "a function is global by its name and its calling convention"
)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn own_fragment(ctx: *mut xdp_md) -> u32 {
    let nothing = DrainScope::Nothing as u32;
    let Some(key) = key(Context::Nic as u32) else {
        return nothing;
    };
    let ctx = XdpContext::new(ctx);
    match flows::inbound_fragment_key(&Frame::new(&ctx), key).and_then(fragments::store) {
        Some(_) if !key.is_portless_fragment() => DROPPED,
        Some(fragment) if fragments::has(fragment) => OWN,
        _ => nothing,
    }
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

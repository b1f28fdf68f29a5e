//! The eBPF programs of the data path: adapters between the kernel and [`xdp_core`], which decides.
//!
//! Fail-open is visible in this file. [`act`] is the only place where a verdict becomes an XDP action, and
//! the only verdicts that drop a packet are those of a rule's Drop, Reject or limit that matches it, or could
//! match it. The tc programs never drop a packet, and the tracepoint programs only count.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![warn(clippy::wildcard_enum_match_arm)]

mod bytes;
mod counters;
mod failures;
mod flows;
mod fragments;
mod frame;
mod inbound;
mod limits;
mod nic;
mod opaque;
mod opened;
mod packet;
mod peer;
mod reader;
mod redirect;
mod reject;
mod reply;
mod routes;
mod sent;
mod skb;
mod stack;
mod tables;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX},
    macros::{classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, TcContext, XdpContext},
};
use xdp_core::{
    events::Event,
    explain::Explained,
    limits::enforce,
    parse::Bytes,
    verdict::{Kind, VerdictCode, examine},
};

use crate::{flows::Context, frame::Frame, limits::LimitMaps, nic::NicPacket, tables::RuleMaps};

/// On a NIC: decides about each frame before the kernel allocates an skb for it.
#[xdp]
fn xdp_nic(ctx: XdpContext) -> u32 {
    let Some(scratch) = flows::scratch(Context::Nic) else {
        return XDP_PASS;
    };
    let frame = Frame::new(&ctx);
    let bytes = frame.length() as u64;
    let mut decision = examine(&frame, &RuleMaps, scratch);
    frame::opaque_verdict(&ctx, &mut decision.outcome);
    let enforced = enforce(&decision, &LimitMaps);
    if enforced.table_full {
        counters::event(Event::SourceLimitTableFull.code(), bytes);
    }
    let verdict = inbound::keep(&ctx, &decision, enforced.outcome);
    let packet = NicPacket {
        ctx: &ctx,
        decision: &decision,
        limited: enforced.outcome,
    };
    let (outcome, action) = act(verdict, &packet);
    counters::count(decision.rule(), outcome, bytes);
    action
}

/// Never attached: returns the verdict of [`xdp_nic`] on a packet that opens a flow. It counts nothing, and
/// uses up no limit.
#[xdp]
fn xdp_explain(ctx: XdpContext) -> u32 {
    let Some(scratch) = flows::scratch(Context::Process) else {
        return XDP_ABORTED;
    };
    let mut decision = examine(&Frame::new(&ctx), &RuleMaps, scratch).predicted(&RuleMaps);
    if matches!(decision.outcome.kind, Kind::Redirect | Kind::Peer)
        && let Err(reason) = routes::admitted(&ctx, Context::Process)
    {
        decision.outcome = VerdictCode::because(Kind::FallBack, reason.code());
    }
    frame::opaque_verdict(&ctx, &mut decision.outcome);
    match frame::write(&ctx, 0, Explained::bytes(&decision)) {
        Some(()) => act(decision.outcome, &Predicted).1,
        None => XDP_ABORTED,
    }
}

/// Executes a verdict. Returns the outcome, by which the packet is counted, and the XDP action.
///
/// The match is exhaustive, so a new verdict does not compile before it has an action.
#[inline(always)]
fn act(verdict: VerdictCode, packet: &impl Execute) -> (VerdictCode, u32) {
    match verdict.kind {
        Kind::Redirect => match packet.redirect(verdict) {
            Ok(outcome) => (outcome, XDP_REDIRECT),
            Err(fallback) => (fallback, XDP_PASS),
        },
        Kind::Drained => match packet.drain(verdict) {
            Ok(outcome) => (outcome, XDP_REDIRECT),
            Err(undrained) => (undrained, XDP_PASS),
        },
        Kind::Peer => match packet.peer(verdict) {
            Ok(outcome) | Err(outcome) => (outcome, XDP_PASS),
        },
        Kind::Reject => match packet.reject(verdict) {
            Ok(outcome) => (outcome, XDP_TX),
            Err(silent) => (silent, XDP_DROP),
        },
        Kind::Drop | Kind::RejectedSilently | Kind::Limited | Kind::UnparsedDrop => (verdict, XDP_DROP),
        Kind::Unparsed
        | Kind::NotConsidered
        | Kind::Foreign
        | Kind::NoMatch
        | Kind::Pass
        | Kind::Audit
        | Kind::FallBack
        | Kind::OwnConnection => (verdict, XDP_PASS),
    }
}

/// The outcome of an execution; as `Err` if it failed.
type Executed = Result<VerdictCode, VerdictCode>;

/// Executes the verdicts that change a packet. After a failure the packet is unchanged, except by
/// [`Execute::reject`].
trait Execute {
    /// Redirects the packet to its pod.
    fn redirect(&self, verdict: VerdictCode) -> Executed;

    /// Marks the packet for the NIC's tc ingress program, which delivers it.
    fn peer(&self, verdict: VerdictCode) -> Executed;

    /// Redirects the packet to its pod without metadata: no rule says so, but the flow is tracked.
    fn drain(&self, verdict: VerdictCode) -> Executed;

    /// Turns the packet into an answer to its sender.
    fn reject(&self, verdict: VerdictCode) -> Executed;
}

/// Executes nothing, and fails never.
struct Predicted;

impl Execute for Predicted {
    #[inline(always)]
    fn redirect(&self, verdict: VerdictCode) -> Executed {
        Ok(verdict)
    }

    #[inline(always)]
    fn peer(&self, verdict: VerdictCode) -> Executed {
        Ok(verdict)
    }

    #[inline(always)]
    fn drain(&self, verdict: VerdictCode) -> Executed {
        Ok(verdict)
    }

    #[inline(always)]
    fn reject(&self, verdict: VerdictCode) -> Executed {
        Ok(verdict)
    }
}

/// On a NIC's ingress: delivers the packets that [`xdp_nic`] marked.
#[classifier]
fn nic_peer(ctx: TcContext) -> i32 {
    peer::deliver(&ctx)
}

/// On a pod's eth0: copies the metadata's mark to the skb.
#[classifier]
fn pod_reader(ctx: TcContext) -> i32 {
    reader::read(&ctx);
    reader::NEXT
}

/// On the ingress of a pod's host-side interface: sends replies of tracked flows past the stack.
#[classifier]
fn pod_out(ctx: TcContext) -> i32 {
    reply::send(&ctx)
}

/// On the egress of a pod's host-side interface: ends tracked flows that the stack delivers packets of.
#[classifier]
fn pod_in(ctx: TcContext) -> i32 {
    stack::delivered(&ctx);
    reader::NEXT
}

/// On a NIC's egress: records the flows that pods open through the stack.
#[classifier]
fn nic_out(ctx: TcContext) -> i32 {
    stack::sent(&ctx);
    reader::NEXT
}

/// Counts redirects that failed in the driver's receive loop, by slot and errno.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
fn redirect_err(ctx: RawTracePointContext) -> i32 {
    failures::redirect_err(&ctx);
    0
}

/// Counts packets that were dropped between a redirect and the pod's ring, by the target's ifindex and errno.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
fn devmap_xmit(ctx: RawTracePointContext) -> i32 {
    failures::devmap_xmit(&ctx);
    0
}

/// Counts `XDP_ABORTED`, unknown actions and failed transmissions, by NIC and action.
#[raw_tracepoint(tracepoint = "xdp_exception")]
fn exception(ctx: RawTracePointContext) -> i32 {
    failures::exception(&ctx);
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never linked: the verifier refuses the loop. Panics must be unreachable in the optimised programs.
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are only for programs under the GPL.
#[expect(unsafe_code, reason = "the loader finds the licence by its section")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

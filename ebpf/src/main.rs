//! The eBPF programs of the data path: adapters between the kernel and [`xdp_core`], which decides.
//!
//! Fail-open is visible on this page: every verdict but those that a rule asks for ends in `XDP_PASS`, the classifiers never
//! drop a packet, and the tracepoint programs only count.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bytes;
mod counters;
mod failures;
mod flows;
mod frame;
mod inward;
mod limits;
mod outward;
mod peer;
mod reader;
mod redirect;
mod reject;
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
    verdict::{Kind, examine},
};

use crate::flows::Context;

/// On a NIC: decides about every frame before the kernel allocates an skb for it.
#[xdp]
fn xdp_nic(ctx: XdpContext) -> u32 {
    let Some(room) = flows::room(Context::Nic) else {
        return XDP_PASS;
    };
    let frame = frame::Frame::new(&ctx);
    let bytes = frame.length() as u64;
    let mut decision = examine(&frame, &tables::RuleMaps, room);
    frame::forget_outcome(&ctx, &mut decision.outcome);
    let enforced = enforce(&decision, &limits::LimitMaps);
    if enforced.table_full {
        counters::event(Event::SourceLimitTableFull.code(), bytes);
    }
    let outcome = enforced.outcome;
    if inward::carry(&ctx, &decision, outcome) {
        return XDP_REDIRECT;
    }
    let outcome = match outcome.kind {
        Kind::Redirect => redirect::execute(&ctx, &decision, outcome),
        Kind::Peer => redirect::mark_for_peer(&ctx, &decision, outcome),
        Kind::Reject => reject::execute(&ctx, &decision),
        _ => outcome,
    };
    counters::count(decision.rule(), outcome, bytes);
    action(outcome.kind)
}

/// Never attached: tells what [`xdp_nic`] would make of a packet. It counts nothing and uses no limit up.
#[xdp]
fn xdp_explain(ctx: XdpContext) -> u32 {
    let Some(room) = flows::room(Context::Process) else {
        return XDP_ABORTED;
    };
    let decision = examine(&frame::Frame::new(&ctx), &tables::RuleMaps, room).predicted(&tables::RuleMaps);
    match frame::write(&ctx, 0, Explained::bytes(&decision)) {
        Some(()) => action(decision.outcome.kind),
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn action(kind: Kind) -> u32 {
    match kind {
        Kind::Redirect | Kind::Drained => XDP_REDIRECT,
        Kind::Reject => XDP_TX,
        Kind::Drop | Kind::RejectedSilently | Kind::Limited => XDP_DROP,
        Kind::Unparsed
        | Kind::NotConsidered
        | Kind::NoMatch
        | Kind::Pass
        | Kind::Audit
        | Kind::Peer
        | Kind::FallBack => XDP_PASS,
    }
}

/// On a NIC's ingress: delivers what [`xdp_nic`] marked for it.
#[classifier]
fn nic_peer(ctx: TcContext) -> i32 {
    peer::deliver(&ctx)
}

/// On a pod's eth0: hands the metadata to sockets.
#[classifier]
fn pod_reader(ctx: TcContext) -> i32 {
    reader::read(&ctx);
    reader::NEXT
}

/// On the host's end of a pod's pair, ingress: sends the pod's replies out past the stack.
#[classifier]
fn pod_out(ctx: TcContext) -> i32 {
    outward::send(&ctx)
}

/// On the host's end of a pod's pair, egress: sees what the stack delivers to the pod.
#[classifier]
fn pod_in(ctx: TcContext) -> i32 {
    stack::delivered(&ctx);
    reader::NEXT
}

/// On a NIC's egress: notes whose replies are the stack's.
#[classifier]
fn nic_out(ctx: TcContext) -> i32 {
    stack::departed(&ctx);
    reader::NEXT
}

/// Counts redirects that failed in the driver's call, by slot and errno.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
fn redirect_err(ctx: RawTracePointContext) -> i32 {
    failures::redirect_err(&ctx);
    0
}

/// Counts packets that were lost between a redirect and the pod's ring, by the target's ifindex and errno.
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
    // Never linked: the verifier would refuse the loop. Panics must be unreachable in the optimised programs.
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are only for programs under the GPL.
#[expect(unsafe_code, reason = "the loader finds the licence by its section")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

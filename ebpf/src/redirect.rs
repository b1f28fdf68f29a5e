//! Carries out a redirect, or leaves the packet as it was.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use xdp_core::{
    events::Fallback,
    parse::{Bytes, TAG},
    verdict::{Decision, Kind, VerdictCode},
};

use crate::{
    frame::{
        Frame, {self},
    },
    inward,
    tables::DEVICES,
};

const DESTINATION_MAC: usize = 0;
const SOURCE_MAC: usize = 6;

/// A packet that is passed must be the packet that arrived. So what cannot be undone comes last: the devmap is asked
/// first (it only notes the target; returning something else than `XDP_REDIRECT` forgets it), so that a pod that is gone
/// begins no flows; then its flow is asked for, or begun, then metadata is put in front, which can be taken back, then the
/// header is edited.
#[inline(always)]
pub(crate) fn execute(ctx: &XdpContext, decision: &Decision<'_>, outcome: VerdictCode) -> VerdictCode {
    let Some(redirect) = decision.redirect() else {
        return fall_back(Fallback::NoDevice);
    };
    if DEVICES.redirect(redirect.slot, u64::from(XDP_PASS)).is_err() {
        return fall_back(Fallback::NoDevice);
    }
    let outcome = inward::confirm(ctx, decision, outcome);
    if outcome.kind == Kind::FallBack {
        return outcome;
    }
    if frame::push_metadata(ctx, &redirect.metadata).is_none() {
        return fall_back(Fallback::NoMetadata);
    }
    if edit_header(ctx, redirect.mac, redirect.tags).is_none() {
        frame::drop_metadata(ctx);
        return fall_back(Fallback::NoUntag);
    }
    outcome
}

/// Marks a packet for [`crate::peer::deliver`], which the kernel runs behind the NIC's stack entry.
#[inline(always)]
pub(crate) fn mark_for_peer(ctx: &XdpContext, decision: &Decision<'_>, outcome: VerdictCode) -> VerdictCode {
    let Some(redirect) = decision.redirect() else {
        return fall_back(Fallback::NoDevice);
    };
    let Some(device) = DEVICES.get_ifindex(redirect.slot) else {
        return fall_back(Fallback::NoDevice);
    };
    if redirect.tags > 1 {
        return fall_back(Fallback::NoUntag);
    }
    let outcome = inward::confirm(ctx, decision, outcome);
    if outcome.kind == Kind::FallBack {
        return outcome;
    }
    match frame::push_metadata(ctx, &redirect.metadata.for_peer(device)) {
        Some(()) => outcome,
        None => fall_back(Fallback::NoMetadata),
    }
}

#[inline(always)]
fn fall_back(reason: Fallback) -> VerdictCode {
    VerdictCode::because(Kind::FallBack, reason.code())
}

/// Hands a packet to its pod that no rule redirects, without metadata. `None`, and nothing changed, if that fails.
#[inline(always)]
pub(crate) fn carry(ctx: &XdpContext, decision: &Decision<'_>) -> Option<()> {
    let (mac, tags) = decision.target()?;
    DEVICES.redirect(decision.trace.slot, u64::from(XDP_PASS)).ok()?;
    edit_header(ctx, mac, tags)
}

/// Takes the VLAN tags off and writes the pod's address. Only the first step can fail, and then nothing changed:
/// `bpf_xdp_adjust_head` itself guarantees that a whole Ethernet header is left for the others.
#[inline(always)]
fn edit_header(ctx: &XdpContext, mac: [u8; 6], tags: u32) -> Option<()> {
    if tags != 0 {
        // Read before the metadata moves over it.
        let source = Frame::new(ctx).read::<6>(SOURCE_MAC)?;
        frame::pull(ctx, TAG as i32 * tags as i32)?;
        frame::write(ctx, SOURCE_MAC, source)?;
    }
    frame::write(ctx, DESTINATION_MAC, mac)
}

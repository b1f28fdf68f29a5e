//! Executes redirects. A packet that passes after a failure is the packet that arrived.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use xdp_core::{
    events::Fallback,
    parse::{Bytes, TAG},
    verdict::Redirect,
};

use crate::{
    frame::{
        Frame, {self},
    },
    tables::DEVICES,
};

const DESTINATION_MAC: usize = 0;
const SOURCE_MAC: usize = 6;

/// Sets the target of `XDP_REDIRECT`. That fails if the pod's device is gone. If the program returns another
/// action after all, the kernel ignores the target.
#[inline(always)]
pub(crate) fn set_target(slot: u32) -> Result<(), Fallback> {
    let set = DEVICES.redirect(slot, u64::from(XDP_PASS));
    set.map(|_| ()).map_err(|_| Fallback::NoDevice)
}

/// Writes metadata and header for the pod. First the metadata, which can be removed again, then the header.
#[inline(always)]
pub(crate) fn write(ctx: &XdpContext, redirect: &Redirect) -> Result<(), Fallback> {
    frame::push_metadata(ctx, &redirect.metadata).ok_or(Fallback::NoMetadata)?;
    if write_header(ctx, redirect.mac, redirect.tags).is_none() {
        frame::drop_metadata(ctx);
        return Err(Fallback::NoUntag);
    }
    Ok(())
}

/// Returns the host-side interface of the pod that the NIC's tc ingress program delivers to. Fails if it is
/// gone, or if that program could not deliver the packet.
#[inline(always)]
pub(crate) fn peer_device(redirect: &Redirect) -> Result<u32, Fallback> {
    let device = DEVICES.get_ifindex(redirect.slot).ok_or(Fallback::NoDevice)?;
    if redirect.tags > 1 {
        return Err(Fallback::NoUntag);
    }
    Ok(device)
}

/// Marks a packet for [`crate::peer::deliver`].
#[inline(always)]
pub(crate) fn mark_for_peer(ctx: &XdpContext, redirect: &Redirect, device: u32) -> Result<(), Fallback> {
    frame::push_metadata(ctx, &redirect.metadata.for_peer(device)).ok_or(Fallback::NoMetadata)
}

/// Writes the Ethernet header for the pod: the pod's MAC address, and no VLAN tags. Only the removal of tags
/// can fail, before anything is changed: `bpf_xdp_adjust_head` itself guarantees that a whole Ethernet header
/// is left.
#[inline(always)]
pub(crate) fn write_header(ctx: &XdpContext, mac: [u8; 6], tags: u32) -> Option<()> {
    if tags != 0 {
        // Before the metadata moves over it.
        let source = Frame::new(ctx).read::<6>(SOURCE_MAC)?;
        frame::adjust_head(ctx, TAG as i32 * tags as i32)?;
        frame::write(ctx, SOURCE_MAC, source)?;
    }
    frame::write(ctx, DESTINATION_MAC, mac)
}

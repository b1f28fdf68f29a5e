//! The smallest possible programs: upper limits of the speed.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_redirect_peer,
    macros::{classifier, map, xdp},
    maps::{Array, DevMap},
    programs::{TcContext, XdpContext},
};

use crate::packet;

/// `TCX_NEXT`
pub(crate) const NEXT: i32 = -1;
/// Offset of the last byte of an IPv4 destination.
const LAST_BYTE: usize = 33;

/// Key 0 has the device of the single-pod programs; other keys are the last byte of a pod's address.
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(1024, 0);
/// Interface indexes for `bpf_redirect_peer`, with the keys of [`DEVICES`].
#[map]
static INDEXES: Array<u32> = Array::with_max_entries(256, 0);

#[xdp]
fn drop_all(_: XdpContext) -> u32 {
    XDP_DROP
}

/// A second copy, to compare a program with itself.
#[xdp]
fn drop_again(_: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp]
fn pass_all(_: XdpContext) -> u32 {
    XDP_PASS
}

/// One call of a helper; returns its result.
#[xdp]
fn redirect_one(_: XdpContext) -> u32 {
    DEVICES.redirect(0, 0).unwrap_or_else(|fallback| fallback)
}

/// Redirects to several pods: one byte of the packet is the key.
#[xdp]
fn redirect_many(ctx: XdpContext) -> u32 {
    match packet::read::<u8>(ctx.data(), ctx.data_end(), LAST_BYTE) {
        Some(key) => DEVICES
            .redirect(u32::from(key), 0)
            .unwrap_or_else(|fallback| fallback),
        None => XDP_DROP,
    }
}

/// Redirects from a NIC's ingress directly into the pod.
#[classifier]
fn hop(ctx: TcContext) -> i32 {
    let Some(key) = packet::read::<u8>(ctx.data(), ctx.data_end(), LAST_BYTE) else {
        return NEXT;
    };
    match INDEXES.get(u32::from(key)) {
        // SAFETY: no pointers.
        Some(index) if *index != 0 => (unsafe { bpf_redirect_peer(*index, 0) }) as i32,
        _ => NEXT,
    }
}

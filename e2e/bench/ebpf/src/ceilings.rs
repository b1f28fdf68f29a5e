//! The least that can be done: what nobody can be faster than.

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
/// Where the last byte of an IPv4 destination is.
const LAST_BYTE: usize = 33;

/// The only device is at 0; those of all pods at the last byte of their address.
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(1024, 0);
/// The same, for `bpf_redirect_peer`.
#[map]
static INDEXES: Array<u32> = Array::with_max_entries(256, 0);

#[xdp]
fn drop_all(_: XdpContext) -> u32 {
    XDP_DROP
}

/// The same again, for the comparison of a program with itself.
#[xdp]
fn drop_again(_: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp]
fn pass_all(_: XdpContext) -> u32 {
    XDP_PASS
}

/// One call of a helper, and its answer.
#[xdp]
fn redirect_one(_: XdpContext) -> u32 {
    DEVICES.redirect(0, 0).unwrap_or_else(|fallback| fallback)
}

/// The same for several pods: with one byte of the packet as the key.
#[xdp]
fn redirect_many(ctx: XdpContext) -> u32 {
    match packet::read::<u8>(ctx.data(), ctx.data_end(), LAST_BYTE) {
        Some(key) => DEVICES
            .redirect(u32::from(key), 0)
            .unwrap_or_else(|fallback| fallback),
        None => XDP_DROP,
    }
}

/// On a NIC's ingress: straight into the pod.
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

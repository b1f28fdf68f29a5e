//! The only file that follows pointers into packets.
//!
//! The verifier knows a packet pointer's range only after a comparison with the end of the packet, on the same value
//! that is dereferenced. Every access here is one such comparison and one access behind it.
#![expect(unsafe_code, reason = "packet bytes are reached by address")]

use core::arch::asm;

use aya_ebpf::{
    helpers::{
        bpf_redirect_peer, bpf_skb_vlan_pop, bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail,
    },
    programs::{TcContext, XdpContext},
};
use xdp_core::{
    metadata::{LEN, Metadata},
    parse::Bytes,
    reject::Edit,
    verdict::VerdictCode,
};

use crate::bytes;

/// No offset that parsing can reach is larger. The verifier refuses packet pointers whose offset it cannot bound.
pub(crate) const MAX_OFFSET: usize = 0x7fff;

/// A frame, which may be changed: where it begins and ends is asked for every access, because the verifier forgets all
/// about packets at some calls, and otherwise remembers more than one wants.
pub(crate) struct Frame<'c> {
    ctx: &'c XdpContext,
}

impl<'c> Frame<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx }
    }
}

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // What is compared must be what is added: the compiler would rather compare what it was computed of.
        let offset = one_value(offset);
        if offset > MAX_OFFSET {
            return None;
        }
        let at = one_value(self.ctx.data() + offset);
        if at + N > self.ctx.data_end() {
            return None;
        }
        // SAFETY: `at..at + N` lies between the start and the end of the packet, and bytes have no alignment.
        Some(unsafe { bytes::load(at) })
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        forget(u64::from(value), u64::from(self.ctx.rx_queue_index())) as u32
    }

    #[inline(always)]
    fn barrier<T>(&self, value: &mut T) {
        // SAFETY: a move to itself. Without further options, the compiler must believe that the value was changed.
        unsafe { asm!("{0} = {0}", inout(reg) core::ptr::from_mut(value) => _) };
    }
}

impl Edit for Frame<'_> {
    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        write(self.ctx, offset, bytes)
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        pull(self.ctx, -(bytes as i32))
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        let excess = self.length().saturating_sub(length);
        // SAFETY: the context is the program's own.
        (unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, -(excess as i32)) } == 0).then_some(())
    }
}

/// `value` itself, about which the verifier knows nothing any more if it knows nothing about `unknown`.
#[inline(always)]
pub(crate) fn forget(mut value: u64, unknown: u64) -> u64 {
    // SAFETY: two exclusive-ors that cancel each other. The verifier does not see that they do. Volatile, so that
    // it happens here and not after the loop that it is for.
    unsafe {
        asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) unknown, options(nomem, nostack));
    }
    value
}

/// The same for an outcome.
#[inline(always)]
pub(crate) fn forget_outcome(ctx: &XdpContext, outcome: &mut VerdictCode) {
    let at = core::ptr::from_mut(outcome).cast::<u32>();
    let unknown = u64::from(ctx.rx_queue_index());
    for member in 0..size_of::<VerdictCode>() / size_of::<u32>() {
        // SAFETY: an outcome is made of such numbers, and they are what they were.
        unsafe {
            let at = at.add(member);
            at.write_volatile(forget(u64::from(at.read_volatile()), unknown) as u32);
        }
    }
}

/// Keeps the compiler from computing an address a second time: the verifier would see another pointer, without the
/// range that the comparison gave to the first.
#[inline(always)]
pub(crate) fn one_value(mut address: usize) -> usize {
    // SAFETY: a move to itself. (An empty template would give two source lines to one instruction, which the kernel
    // refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
    address
}

/// Writes bytes; `None` if they would not fit.
#[inline(always)]
pub(crate) fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    if offset > MAX_OFFSET {
        return None;
    }
    let at = one_value(ctx.data() + offset);
    if at + N > ctx.data_end() {
        return None;
    }
    // SAFETY: `at..at + N` lies inside the packet, which this program owns while it runs.
    unsafe { bytes::store(at, bytes) };
    Some(())
}

/// Puts metadata in front of the packet; `None`, and nothing changed, if there is no room.
#[inline(always)]
pub(crate) fn push_metadata(ctx: &XdpContext, metadata: &Metadata) -> Option<()> {
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(LEN as i32)) } != 0 {
        return None;
    }
    let at = ctx.metadata();
    if at + LEN > ctx.data() {
        drop_metadata(ctx);
        return None;
    }
    // SAFETY: `at..at + LEN` lies between `data_meta` and `data`.
    unsafe { bytes::store(at, metadata.to_bytes()) };
    Some(())
}

/// Takes back what [`push_metadata`] did.
#[inline(always)]
pub(crate) fn drop_metadata(ctx: &XdpContext) {
    // SAFETY: the context is the program's own. Shrinking by what was just added cannot fail.
    unsafe { bpf_xdp_adjust_meta(ctx.ctx, LEN as i32) };
}

/// Takes bytes off the front, or adds as many as there are below zero; metadata moves along. `None`, and nothing changed,
/// if that is refused.
#[inline(always)]
pub(crate) fn pull(ctx: &XdpContext, bytes: i32) -> Option<()> {
    // SAFETY: the context is the program's own.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, bytes) } == 0).then_some(())
}

/// The metadata in front of a packet in the pod.
#[inline(always)]
pub(crate) fn metadata(ctx: &TcContext) -> Option<Metadata> {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (at, end) = unsafe { ((*skb).data_meta as usize, (*skb).data as usize) };
    if at + LEN > end {
        return None;
    }
    // SAFETY: `at..at + LEN` lies between `data_meta` and `data`.
    Metadata::read(&unsafe { bytes::load::<LEN>(at) })
}

/// Overwrites the metadata in front of a packet. A packet whose bytes are shared with others (somebody is looking on with
/// a packet socket) is copied first, and before Linux 6.19 the copy has none: `None`.
#[inline(always)]
pub(crate) fn write_metadata(ctx: &TcContext, metadata: &Metadata) -> Option<()> {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (at, end) = unsafe { ((*skb).data_meta as usize, (*skb).data as usize) };
    if at + LEN > end {
        return None;
    }
    // SAFETY: `at..at + LEN` lies between `data_meta` and `data`.
    unsafe { bytes::store(at, metadata.to_bytes()) };
    Some(())
}

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// Whether there is a VLAN tag in the packet besides the one that was taken off it.
#[inline(always)]
pub(crate) fn is_tagged_twice(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let protocol = unsafe { (*skb).protocol } as u16;
    matches!(u16::from_be(protocol), VLAN | SERVICE_VLAN)
}

/// Forgets the tag that was taken off the packet, if there was one.
#[inline(always)]
pub(crate) fn untag(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    unsafe { (*skb).vlan_present == 0 || bpf_skb_vlan_pop(skb) == 0 }
}

/// To the other end of the pair whose one end is `device`.
#[inline(always)]
pub(crate) fn redirect_peer(device: u32) -> i32 {
    // SAFETY: only numbers are passed.
    (unsafe { bpf_redirect_peer(device, 0) }) as i32
}

/// Packets and bytes behind one skb: GRO may have merged several.
#[inline(always)]
pub(crate) fn size(ctx: &TcContext) -> (u64, u64) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (segments, bytes) = unsafe { ((*skb).gso_segs, (*skb).len) };
    (u64::from(segments.max(1)), u64::from(bytes))
}

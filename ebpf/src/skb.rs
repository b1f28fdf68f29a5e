//! The bytes of packets that the kernel has made an skb of.
#![expect(unsafe_code, reason = "packet bytes are reached by address")]

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes, programs::TcContext};
use xdp_core::{
    flows::{Direction, FlowPacket, PackedHeaders, PackedView, TransportView},
    parse::{Bytes, Packet},
};

use crate::{
    bytes,
    flows::{found, settled},
    frame::{MAX_OFFSET, forget, one_value},
};

/// A packet, from the Ethernet header on. Only its head lies at an address; the rest is copied out by the kernel, which
/// headers hardly ever need.
pub(crate) struct Skb<'c> {
    ctx: &'c TcContext,
}

impl<'c> Skb<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c TcContext) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).mark }
    }

    /// Whether a VLAN tag was taken off it.
    #[inline(always)]
    pub(crate) fn had_tag(&self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).vlan_present != 0 }
    }

    /// Has the kernel copy bytes, wherever they are.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut copy = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the context is the program's own, and there is room for `N` bytes.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.raw().cast(),
                offset as u32,
                copy.as_mut_ptr().cast(),
                N as u32,
            )
        };
        // SAFETY: then all of them were written.
        (failed == 0).then(|| unsafe { copy.assume_init() })
    }

    /// Whether it will leave as several packets.
    #[inline(always)]
    pub(crate) fn is_segmented(&self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).gso_size != 0 }
    }
}

impl Bytes for Skb<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.ctx.len() as usize
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // What is compared must be what is added: the compiler would rather compare what it was computed of.
        let offset = one_value(offset);
        if offset > MAX_OFFSET {
            return None;
        }
        let at = one_value(self.ctx.data() + offset);
        if at + N <= self.ctx.data_end() {
            // SAFETY: `at..at + N` lies between the start and the end of the packet's head.
            return Some(unsafe { bytes::load(at) });
        }
        self.copy(offset)
    }

    #[inline(always)]
    fn fetch<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > MAX_OFFSET {
            return None;
        }
        self.copy(offset)
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        // SAFETY: the context is the program's own.
        let unknown = unsafe { (*self.raw()).priority };
        forget(u64::from(value), u64::from(unknown)) as u32
    }

    #[inline(always)]
    fn barrier<T>(&self, value: &mut T) {
        // SAFETY: a move to itself. Without further options, the compiler must believe that the value was changed.
        unsafe { asm!("{0} = {0}", inout(reg) core::ptr::from_mut(value) => _) };
    }
}

/// The subject of a packet that was parsed.
#[inline(always)]
pub(crate) fn subject(skb: &Skb<'_>, packet: &Packet, way: Direction) -> Option<&'static FlowPacket> {
    let place = PackedView::of(skb, packet);
    let rest = u64::from(place.ip_len) << 32 | u64::from(way == Direction::FromPod);
    find_subject(skb.raw(), place.headers.0, place.upper, rest);
    found()
}

/// Leaves it in the map. A function that the verifier looks at once: it is global, and its arguments can be any numbers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_subject(ctx: *mut __sk_buff, shape: u32, upper: u32, rest: u64) -> u32 {
    let ctx = TcContext::new(ctx);
    let skb = Skb::new(&ctx);
    let place = PackedView {
        headers: PackedHeaders(shape),
        upper,
        ip_len: (rest >> 32) as u32,
    };
    let way = if rest as u32 == 0 {
        Direction::ToPod
    } else {
        Direction::FromPod
    };
    let subject = TransportView::at(&skb, place)
        .map_or(FlowPacket::NONE, |segment| FlowPacket::of(&skb, &segment, way));
    u32::from(settled(subject).is_some())
}

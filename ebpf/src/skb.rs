//! Packets of tc programs: the kernel has made an skb of them.
#![expect(
    unsafe_code,
    reason = "helpers take the context, which has its members by address"
)]

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_redirect_peer, bpf_skb_change_type, bpf_skb_vlan_pop},
    programs::TcContext,
};
use xdp_core::{
    flows::{Direction, FlowPacket, PackedHeaders, PackedView, TransportView},
    parse::{Bytes, Packet},
};

use crate::{
    flows::{store, stored},
    opaque::{barrier, opaque},
    packet,
};

/// A packet, from the Ethernet header on. Only its head is at an address; a helper copies the rest, which
/// headers rarely reach.
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

    /// Returns the interface whose hook the program is attached to.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).ifindex }
    }

    /// Returns the interface by which the packet last came in, a bridge rather than its port; zero: the host
    /// itself sends it.
    #[inline(always)]
    pub(crate) fn came_from(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).ingress_ifindex }
    }

    /// Notes in the skb that the packet bypasses the stack, for the program on the NIC.
    ///
    /// The note is in the control block (`skb->cb`), not in the mark, which belongs to the node's
    /// administrator. The control block lasts from a redirect to the NIC's egress hook, also while the
    /// neighbour is being resolved (`bpf_out_neigh_v4` and `neigh_resolve_output` leave it alone), but not
    /// through the stack (`ip_rcv` clears it), nor through a bridge (`br_dev_xmit`): see
    /// [`crate::flows::record_sent`]. `secret` is a number that no other program knows.
    #[inline(always)]
    pub(crate) fn sign(&self, secret: u64) {
        // SAFETY: the context is the program's own.
        unsafe {
            (&raw mut (*self.raw()).cb[0]).write_volatile((secret >> 32) as u32);
            (&raw mut (*self.raw()).cb[1]).write_volatile(secret as u32);
        }
    }

    /// Removes the note of [`Self::sign`]. Returns whether it was there.
    #[inline(always)]
    pub(crate) fn take_signature(&self, secret: u64) -> bool {
        // SAFETY: the context is the program's own.
        let [high, low] = unsafe { [(*self.raw()).cb[0], (*self.raw()).cb[1]] };
        let is_signed = secret != 0 && high == (secret >> 32) as u32 && low == secret as u32;
        if is_signed {
            self.sign(0);
        }
        is_signed
    }

    /// Whether the kernel or the NIC removed a VLAN tag.
    #[inline(always)]
    pub(crate) fn had_tag(&self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.raw()).vlan_present != 0 }
    }

    /// Whether the packet will be segmented (GSO).
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
        packet::read(self.ctx, offset)
    }

    #[inline(always)]
    fn fetch<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        packet::copy(self.ctx, offset)
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        // SAFETY: the context is the program's own.
        let unknown = unsafe { (*self.raw()).priority };
        opaque(u64::from(value), u64::from(unknown)) as u32
    }

    #[inline(always)]
    fn barrier<T>(&self, value: &mut T) {
        barrier(value);
    }
}

/// Returns the flow of a parsed packet, and the packet's role there.
#[inline(always)]
pub(crate) fn flow_packet(
    skb: &Skb<'_>,
    packet: &Packet,
    direction: Direction,
) -> Option<&'static FlowPacket> {
    let view = PackedView::of(skb, packet);
    let rest = u64::from(view.ip_len) << 32 | u64::from(direction == Direction::FromPod);
    find_flow_packet(skb.raw(), view.headers.0, view.upper, rest);
    stored()
}

/// Stores the flow packet in its map. A global function, which the verifier checks once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_flow_packet(ctx: *mut __sk_buff, headers: u32, upper: u32, rest: u64) -> u32 {
    let ctx = TcContext::new(ctx);
    let skb = Skb::new(&ctx);
    let view = PackedView {
        headers: PackedHeaders(headers),
        upper,
        ip_len: (rest >> 32) as u32,
    };
    let direction = if rest as u32 == 0 {
        Direction::ToPod
    } else {
        Direction::FromPod
    };
    let packet =
        TransportView::at(&skb, view).map_or(FlowPacket::NONE, |view| FlowPacket::of(&skb, &view, direction));
    u32::from(store(packet).is_some())
}

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// Whether the packet has a VLAN tag besides the one that was removed.
#[inline(always)]
pub(crate) fn is_tagged_twice(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let protocol = unsafe { (*skb).protocol } as u16;
    matches!(u16::from_be(protocol), VLAN | SERVICE_VLAN)
}

/// Clears the VLAN tag that was removed from the packet, if there was one. Returns whether that succeeded.
#[inline(always)]
pub(crate) fn clear_tag(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    unsafe { (*skb).vlan_present == 0 || bpf_skb_vlan_pop(skb) == 0 }
}

/// `PACKET_HOST` and `PACKET_OTHERHOST` (`include/uapi/linux/if_packet.h`).
const TO_HOST: u32 = 0;
const TO_OTHER_HOST: u32 = 3;

/// Tells the stack that a packet is for this host, if its MAC address says otherwise. Returns whether it did.
/// The stack looks at that only later, where it takes the packet for IP (`ip_rcv_core`).
#[inline(always)]
pub(crate) fn claim(ctx: &TcContext) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    unsafe { (*skb).pkt_type == TO_OTHER_HOST && bpf_skb_change_type(skb, TO_HOST) == 0 }
}

/// Redirects the packet to the other end of a veth pair.
#[inline(always)]
pub(crate) fn redirect_peer(device: u32) -> i32 {
    // SAFETY: only numbers are passed.
    (unsafe { bpf_redirect_peer(device, 0) }) as i32
}

/// Returns the number of packets and bytes in one skb: GRO may have merged several packets.
#[inline(always)]
pub(crate) fn size(ctx: &TcContext) -> (u64, u64) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    let (segments, bytes) = unsafe { ((*skb).gso_segs, (*skb).len) };
    (u64::from(segments.max(1)), u64::from(bytes))
}

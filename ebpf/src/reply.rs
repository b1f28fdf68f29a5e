//! Sends the replies of a pod past the stack.
#![expect(unsafe_code, reason = "helpers fill structures in")]

use core::mem::{MaybeUninit, zeroed};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_check_mtu_flags::BPF_MTU_CHK_SEGS, bpf_fib_lookup as FibLookup, bpf_redir_neigh as NextHop,
    },
    helpers::{bpf_check_mtu, bpf_fib_lookup, bpf_redirect_neigh},
    programs::TcContext,
};
use xdp_core::{
    events::FlowEvent,
    flows::{self, Direction, FlowPacket, ReplyDecision, TransportView},
    parse::{self, Bytes, Packet},
    tables::FlowKey,
    verdict::Holder,
};

use crate::{
    counters,
    flows::FlowMaps,
    fragments,
    opened::note_opened,
    reader::NEXT,
    routes,
    sent::{record_sent, sent_packet},
    skb::{
        Skb, {self},
    },
    tables,
};

/// Redirects a reply to its NIC, or passes the packet on to the stack.
#[inline(always)]
pub(crate) fn send(ctx: &TcContext) -> i32 {
    let skb = Skb::new(ctx);
    let Ok(packet) = parse::parse(&skb) else {
        return NEXT;
    };
    // The NIC's network is the untagged one: a tagged packet is for another network.
    if packet.tags != 0 || skb.had_tag() {
        return NEXT;
    }
    // The stack forwards only frames of one station to its own.
    if packet.group_mac {
        return NEXT;
    }
    let bytes = skb.length() as u64;
    // Before anything is read from the tables of flows, or written to them.
    match tables::holder(&packet.source, skb.interface()) {
        Holder::Pod | Holder::DrainingPod => {}
        Holder::AnotherPod => return pass(FlowEvent::ReplySpoofed, bytes),
        Holder::Absent => return pass(FlowEvent::ReplyMiss, bytes),
    }
    let view = TransportView::of(&skb, &packet);
    let Some(flow_packet) = skb::flow_packet(&skb, &packet, Direction::FromPod) else {
        return NEXT;
    };
    let sent = sent_packet(&flow_packet.key, packet.ip_len);
    let event = match decide(&skb, &packet, flow_packet, bytes) {
        ReplyDecision::Forward(event) => match route(&skb, &view, &flow_packet.key) {
            Ok((device, hop)) => {
                record_sent(sent.forwarded());
                counters::event(event.code(), bytes);
                return redirect(&skb, device, hop);
            }
            Err(event) => event,
        },
        ReplyDecision::Stack(event) => {
            note_opened();
            event
        }
    };
    record_sent(sent);
    pass(event, bytes)
}

/// Leaves the packet to the stack, and counts why.
#[inline(always)]
fn pass(event: FlowEvent, bytes: u64) -> i32 {
    counters::event(event.code(), bytes);
    NEXT
}

#[inline(always)]
fn decide(skb: &Skb<'_>, packet: &Packet, flow_packet: &FlowPacket, bytes: u64) -> ReplyDecision {
    let miss = ReplyDecision::Stack(FlowEvent::ReplyMiss);
    // The stack reads options, and answers a packet whose TTL ends here.
    if packet.options || packet.ttl <= 1 {
        return miss;
    }
    let Some(maps) = FlowMaps::new(bytes) else {
        return miss;
    };
    if !packet.fragment {
        return flows::track_reply(flow_packet, &maps);
    }
    let Some(key) = flows::fragment_key(skb, packet) else {
        return miss;
    };
    if packet.is_later_fragment() {
        return if fragments::has(&key) {
            ReplyDecision::Forward(FlowEvent::ReplyFragment)
        } else {
            miss
        };
    }
    let decided = flows::track_reply(flow_packet, &maps);
    if matches!(decided, ReplyDecision::Forward(_)) {
        fragments::record(&key);
    }
    decided
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Returns interface and next hop of the packet's route. The kernel resolves the neighbour. Packets that are
/// too long pass to the stack, which answers them.
#[inline(always)]
fn route(skb: &Skb<'_>, view: &TransportView, key: &FlowKey) -> Result<(u32, NextHop), FlowEvent> {
    let mut memory = MaybeUninit::uninit();
    let fib = routes::zeroed(&mut memory);
    fill(fib, skb, view, key);
    // SAFETY: the context is the program's own, and the length is that of the structure.
    let answer = unsafe { bpf_fib_lookup(skb.raw().cast(), fib, size_of::<FibLookup>() as i32, 0) };
    let mtu_checked = match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => !skb.is_segmented(),
        BPF_FIB_LKUP_RET_NO_NEIGH => false,
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(FlowEvent::ReplyTooLong),
        _ => return Err(FlowEvent::ReplyNoRoute),
    };
    // Not towards another pod, nor by an interface that no rule knows: there the stack judges.
    if !tables::is_outlet(fib.ifindex) {
        return Err(FlowEvent::ReplyNoRoute);
    }
    if !mtu_checked && is_too_long(skb, fib.ifindex) {
        return Err(FlowEvent::ReplyTooLong);
    }
    // SAFETY: all zero is a valid value of the structure, and all members of the unions are plain bytes.
    let mut hop: NextHop = unsafe { zeroed() };
    hop.nh_family = u32::from(fib.family);
    // SAFETY: as above.
    unsafe { hop.__bindgen_anon_1.ipv6_nh = fib.__bindgen_anon_4.ipv6_dst };
    Ok((fib.ifindex, hop))
}

#[inline(always)]
fn fill(fib: &mut FibLookup, skb: &Skb<'_>, view: &TransportView, key: &FlowKey) {
    fib.l4_protocol = view.protocol as u8;
    fib.sport = key.pod_port.to_be();
    fib.dport = key.remote_port.to_be();
    fib.ifindex = skb.interface();
    if view.source.is_v4() {
        fib.family = AF_INET;
        fib.__bindgen_anon_3.ipv4_src = (view.source.low as u32).to_be();
        fib.__bindgen_anon_4.ipv4_dst = (view.destination.low as u32).to_be();
    } else {
        fib.family = AF_INET6;
        fib.__bindgen_anon_3.ipv6_src = view.source.words();
        fib.__bindgen_anon_4.ipv6_dst = view.destination.words();
    }
}

/// Whether the packet is longer than the MTU. `bpf_fib_lookup` without a length compares that of the skb
/// itself, but only if the neighbour is known and the skb will not be segmented (`is_skb_forwardable`).
#[inline(always)]
fn is_too_long(skb: &Skb<'_>, device: u32) -> bool {
    let flags = if skb.is_segmented() { BPF_MTU_CHK_SEGS } else { 0 };
    let mut mtu = 0;
    // SAFETY: the context is the program's own.
    (unsafe { bpf_check_mtu(skb.raw().cast(), device, &raw mut mtu, 0, u64::from(flags)) }) != 0
}

#[inline(always)]
fn redirect(skb: &Skb<'_>, device: u32, mut hop: NextHop) -> i32 {
    if let Some(config) = tables::config() {
        skb.sign(config.seed);
    }
    // SAFETY: only numbers are passed, and the length is that of the structure.
    unsafe { bpf_redirect_neigh(device, &raw mut hop, size_of::<NextHop>() as i32, 0) as i32 }
}

//! Programs that execute a test's plan, and report the kernel's results.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "packet bytes and map values are reached by address, kernel memory through a helper"
)]

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    helpers::{
        bpf_probe_read_kernel, bpf_skb_load_bytes, bpf_xdp_adjust_head, bpf_xdp_adjust_meta,
        bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    macros::{classifier, map, raw_tracepoint, xdp},
    maps::{Array, DevMap, LruHashMap, RingBuf},
    programs::{RawTracePointContext, TcContext, XdpContext},
};
use xdp_e2e_ebpf::{
    CAPTURE, CLIENT, FrameMeasure, LRU_ENTRIES, ProbePlan, ProbeResult, SkbRecord, TraceEvent,
};

#[map]
static PLAN: Array<ProbePlan> = Array::with_max_entries(1, 0);
#[map]
static SEEN: Array<ProbeResult> = Array::with_max_entries(1, 0);
#[map]
static MEASURE: Array<FrameMeasure> = Array::with_max_entries(1, 0);
#[map]
static DEVICES: DevMap = DevMap::with_max_entries(8, 0);
/// Used from user space only.
#[map]
static RECENT: LruHashMap<u32, u32> = LruHashMap::with_max_entries(LRU_ENTRIES, 0);
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 18, 0);
/// Frames of the test that the reader saw, including those that did not fit into `RECORDS`.
#[map]
static READ: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// Byte offset of `ifindex` in `struct net_device`. The loader reads it from the kernel's BTF.
#[unsafe(no_mangle)]
static IFINDEX_OFFSET: u32 = 0;

/// Upper half of the indexes of the tests' own interfaces: tracepoints report those of the whole machine, and
/// its traffic would fill the ring. Set by the loader.
#[unsafe(no_mangle)]
static OWN_INDEXES: u32 = 0;

/// `TCX_NEXT`
const NEXT: i32 = -1;

/// Executes the plan.
#[xdp]
fn act(ctx: XdpContext) -> u32 {
    if source(ctx.data(), ctx.data_end()) != Some(CLIENT) {
        return XDP_PASS;
    }
    let (Some(plan), Some(seen)) = (PLAN.get(0), SEEN.get_ptr_mut(0)) else {
        return XDP_PASS;
    };
    // SAFETY: the pointer is to the map's value; frames of one queue are handled one after the other.
    execute(&ctx, plan, unsafe { &mut *seen })
}

#[inline(always)]
fn execute(ctx: &XdpContext, plan: &ProbePlan, seen: &mut ProbeResult) -> u32 {
    seen.frames += 1;
    seen.device = DEVICES.get(plan.slot).map_or(0, |device| device.if_index);
    seen.action = if plan.action == XDP_REDIRECT {
        DEVICES
            .redirect(plan.slot, plan.redirect_flags)
            .unwrap_or_else(|fallback| fallback)
    } else {
        plan.action
    };
    // SAFETY: the context is the program's own.
    unsafe {
        seen.meta = if plan.meta == 0 {
            0
        } else {
            bpf_xdp_adjust_meta(ctx.ctx, plan.meta)
        };
        write_metadata(ctx, plan, seen.frames);
        seen.head = if plan.head == 0 {
            0
        } else {
            bpf_xdp_adjust_head(ctx.ctx, plan.head)
        };
        seen.tail = if plan.tail == 0 {
            0
        } else {
            bpf_xdp_adjust_tail(ctx.ctx, plan.tail)
        };
    }
    write_header(ctx, plan);
    seen.length = (ctx.data_end() - ctx.data()) as u32;
    seen.metadata = (ctx.data() - ctx.metadata()) as u32;
    seen.action
}

#[inline(always)]
fn write_metadata(ctx: &XdpContext, plan: &ProbePlan, number: u64) {
    let at = ctx.metadata();
    if at + size_of::<u64>() > ctx.data() {
        return;
    }
    let value = if plan.numbered == 0 {
        plan.value
    } else {
        plan.value + number
    };
    // SAFETY: eight bytes from `at` on lie before the packet's start.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(at).write_unaligned(value) };
}

#[inline(always)]
fn write_header(ctx: &XdpContext, plan: &ProbePlan) {
    let at = ctx.data();
    if plan.header == [0; 14] || at + plan.header.len() > ctx.data_end() {
        return;
    }
    // SAFETY: the bytes lie inside the packet, which the program owns while it runs.
    unsafe { *core::ptr::with_exposed_provenance_mut::<[u8; 14]>(at) = plan.header };
}

/// Measures frames of the tests' client, in one buffer or several, and drops them.
#[xdp(frags)]
fn measure(ctx: XdpContext) -> u32 {
    /// Bytes that are loaded from the end of the frame.
    const END: u32 = 16;
    let mut header = [0_u8; 14];
    // SAFETY: the context is the program's own, and the buffer has this length.
    let loaded = unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, header.as_mut_ptr().cast(), header.len() as u32) };
    if loaded != 0 || header[6..12] != CLIENT {
        return XDP_PASS;
    }
    let Some(measure) = MEASURE.get_ptr_mut(0) else {
        return XDP_PASS;
    };
    let mut end = [0_u8; END as usize];
    // SAFETY: the pointer is to the map's value, which one CPU at a time writes for a flow. The rest is as
    // above.
    unsafe {
        let total = bpf_xdp_get_buff_len(ctx.ctx) as u32;
        (*measure).frames += 1;
        (*measure).direct = (ctx.data_end() - ctx.data()) as u32;
        (*measure).total = total;
        let at = total.saturating_sub(END);
        (*measure).loaded = bpf_xdp_load_bytes(ctx.ctx, at, end.as_mut_ptr().cast(), END);
        (*measure).meta = bpf_xdp_adjust_meta(ctx.ctx, -8);
    }
    XDP_DROP
}

#[inline(always)]
fn source(start: usize, end: usize) -> Option<[u8; 6]> {
    if start + 14 > end {
        return None;
    }
    // SAFETY: the bytes lie inside the packet.
    Some(unsafe { *core::ptr::with_exposed_provenance::<[u8; 6]>(start + 6) })
}

/// Reports every skb of the test.
#[classifier]
fn reader(ctx: TcContext) -> i32 {
    if source(ctx.data(), ctx.data_end()) != Some(CLIENT) {
        return NEXT;
    }
    if let Some(count) = READ.get_ptr_mut(0) {
        // SAFETY: the pointer is to the map's value, and one CPU at a time handles an interface's only queue.
        unsafe { *count += 1 };
    }
    if let Some(mut entry) = RECORDS.reserve::<SkbRecord>(0) {
        // SAFETY: the entry is as large as a record, whose fields accept every bit pattern.
        unsafe { report(&ctx, entry.as_mut_ptr()) };
        entry.submit(0);
    }
    NEXT
}

#[inline(always)]
unsafe fn report(ctx: &TcContext, record: *mut SkbRecord) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own, the record is the caller's promise.
    unsafe {
        let (metadata, data) = ((*skb).data_meta as usize, (*skb).data as usize);
        (*record).ifindex = (*skb).ifindex;
        (*record).length = (*skb).len;
        (*record).metadata = (data - metadata) as u32;
        (*record).kind = (*skb).pkt_type;
        (*record).segments = (*skb).gso_segs;
        (*record).vlan_present = (*skb).vlan_present;
        (*record).vlan_tci = (*skb).vlan_tci;
        (*record).protocol = (*skb).protocol;
        (*record).value = if metadata + size_of::<u64>() > data {
            0
        } else {
            core::ptr::with_exposed_provenance::<u64>(metadata).read_unaligned()
        };
        (*record).bytes = [0; CAPTURE];
        let length = (*skb).len;
        if length >= 14 {
            let length = if length > CAPTURE as u32 {
                CAPTURE as u32
            } else {
                length
            };
            bpf_skb_load_bytes(skb.cast(), 0, (&raw mut (*record).bytes).cast(), length);
        }
    }
}

/// `(dev, prog, target, err, map_type, map_id, index)`
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
fn redirect_err(ctx: RawTracePointContext) -> i32 {
    let event = TraceEvent {
        kind: TraceEvent::REDIRECT_ERR,
        from: ifindex(ctx.arg(0)),
        err: ctx.arg(3),
        map: ctx.arg(5),
        slot: ctx.arg(6),
        ..TraceEvent::default()
    };
    emit(event)
}

/// `(from_dev, to_dev, sent, drops, err)`
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
fn devmap_xmit(ctx: RawTracePointContext) -> i32 {
    let event = TraceEvent {
        kind: TraceEvent::DEVMAP_XMIT,
        from: ifindex(ctx.arg(0)),
        to: ifindex(ctx.arg(1)),
        sent: ctx.arg(2),
        drops: ctx.arg(3),
        err: ctx.arg(4),
        ..TraceEvent::default()
    };
    emit(event)
}

/// `(dev, prog, act)`
#[raw_tracepoint(tracepoint = "xdp_exception")]
fn exception(ctx: RawTracePointContext) -> i32 {
    let event = TraceEvent {
        kind: TraceEvent::EXCEPTION,
        from: ifindex(ctx.arg(0)),
        action: ctx.arg(2),
        ..TraceEvent::default()
    };
    emit(event)
}

#[inline(always)]
fn emit(event: TraceEvent) -> i32 {
    // SAFETY: the loader writes the value before the program exists.
    let own = unsafe { core::ptr::read_volatile(&raw const OWN_INDEXES) };
    if event.from >> 16 != own && event.to >> 16 != own {
        return 0;
    }
    if let Some(mut entry) = EVENTS.reserve::<TraceEvent>(0) {
        entry.write(event);
        entry.submit(0);
    }
    0
}

#[inline(always)]
fn ifindex(device: usize) -> u32 {
    // SAFETY: the loader writes the value before the program exists.
    let offset = unsafe { core::ptr::read_volatile(&raw const IFINDEX_OFFSET) };
    let at = core::ptr::with_exposed_provenance::<u32>(device + offset as usize);
    // SAFETY: the helper checks the address and fails on a wrong one.
    unsafe { bpf_probe_read_kernel(at) }.unwrap_or(0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never linked: the verifier would refuse the loop.
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are only for programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

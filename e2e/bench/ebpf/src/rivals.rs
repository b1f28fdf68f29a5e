//! Programs with other classifiers, and with the product's parsing, counting, metadata and redirect.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    macros::{map, xdp},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    programs::XdpContext,
};
use xdp_bench_ebpf::{LinearRules, PortKey, REDIRECT, RivalPod, SourceKey};

use crate::{ceilings::DEVICES, packet};

#[map]
static PODS: HashMap<u32, RivalPod> = HashMap::with_max_entries(4096, 0);
#[map]
static LINEAR: Array<LinearRules> = Array::with_max_entries(256, 0);
#[map]
static SOURCES: LpmTrie<SourceKey, u32> = LpmTrie::with_max_entries(200_000, 0);
#[map]
static VERDICTS: LpmTrie<PortKey, u32> = LpmTrie::with_max_entries(2_000_000, 0);
#[map]
static COUNTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1 << 15, 0);

const IPV4: u16 = 0x0800;
const FRAGMENT: u16 = 0x3fff;

/// IPv4 only, without options: less than the product's parser does.
struct Packet {
    source: u32,
    destination: u32,
    protocol: u8,
    port: u16,
    length: u64,
}

#[inline(always)]
fn parse(ctx: &XdpContext) -> Option<Packet> {
    let (data, end) = (ctx.data(), ctx.data_end());
    let be16 = |offset| packet::read::<u16>(data, end, offset).map(u16::from_be);
    let header: [u8; 1] = packet::read(data, end, 14)?;
    if be16(12)? != IPV4 || header != [0x45] || be16(20)? & FRAGMENT != 0 {
        return None;
    }
    Some(Packet {
        protocol: packet::read(data, end, 23)?,
        source: u32::from_be(packet::read(data, end, 26)?),
        destination: u32::from_be(packet::read(data, end, 30)?),
        port: be16(36)?,
        length: (end - data) as u64,
    })
}

#[inline(always)]
fn finish(ctx: &XdpContext, pod: &RivalPod, verdict: u32, length: u64) -> u32 {
    if verdict == 0 {
        return XDP_PASS;
    }
    let rule = verdict & !REDIRECT;
    if let Some(count) = COUNTS.get_ptr_mut(rule & 0x7fff) {
        // SAFETY: the element belongs to this CPU.
        unsafe {
            (*count)[0] += 1;
            (*count)[1] += length;
        }
    }
    if verdict & REDIRECT == 0 {
        return XDP_DROP;
    }
    if DEVICES.redirect(pod.slot, u64::from(XDP_PASS)).is_err()
        || packet::push_metadata(ctx, rule).is_none()
        || packet::write(ctx, 0, pod.mac).is_none()
    {
        return XDP_PASS;
    }
    XDP_REDIRECT
}

/// Walks a list of rules per pod until one matches.
#[xdp]
fn linear(ctx: XdpContext) -> u32 {
    let Some(packet) = parse(&ctx) else {
        return XDP_PASS;
    };
    // SAFETY: elements are not removed while a program runs.
    let Some(pod) = (unsafe { PODS.get(packet.destination) }) else {
        return XDP_PASS;
    };
    let Some(rules) = LINEAR.get(pod.policy) else {
        return XDP_PASS;
    };
    finish(&ctx, pod, walk(rules, pod.rules, &packet), packet.length)
}

#[inline(always)]
fn walk(rules: &LinearRules, count: u32, packet: &Packet) -> u32 {
    for (number, rule) in rules.iter().enumerate() {
        if number as u32 >= count {
            break;
        }
        if packet.source & rule.mask == rule.network
            && u32::from(packet.protocol) == rule.protocol
            && packet.port >= rule.low
            && packet.port <= rule.high
        {
            return rule.verdict;
        }
    }
    0
}

/// The common design: one LPM trie maps the source to a class, a second one maps class, protocol and port to
/// the verdict.
#[xdp]
fn two_lpm(ctx: XdpContext) -> u32 {
    let Some(packet) = parse(&ctx) else {
        return XDP_PASS;
    };
    // SAFETY: elements are not removed while a program runs.
    let Some(pod) = (unsafe { PODS.get(packet.destination) }) else {
        return XDP_PASS;
    };
    let mut source: SourceKey = [0; 8];
    source[..4].copy_from_slice(&pod.policy.to_be_bytes());
    source[4..].copy_from_slice(&packet.source.to_be_bytes());
    let class = SOURCES.get(Key::new(64, source)).copied().unwrap_or(0);
    let mut port: PortKey = [0; 12];
    port[..4].copy_from_slice(&pod.policy.to_be_bytes());
    port[4..8].copy_from_slice(&class.to_be_bytes());
    port[8] = packet.protocol;
    port[10..].copy_from_slice(&packet.port.to_be_bytes());
    let verdict = VERDICTS.get(Key::new(96, port)).copied().unwrap_or(0);
    finish(&ctx, pod, verdict, packet.length)
}

//! Counts failures that the kernel reports only to tracepoints. The arguments are those of
//! `include/trace/events/xdp.h`, unchanged from Linux 5.6 to 7.1.
#![expect(
    unsafe_code,
    reason = "kernel memory is read, and the counters are shared by all CPUs"
)]

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_probe_read_kernel, programs::RawTracePointContext};
use xdp_core::tables::{Config, FailureKey};

use crate::tables::{FAILURES, config};

/// `(dev, prog, target, err, map_type, map_id, index)`. Redirects through other maps do not count.
#[inline(always)]
pub(crate) fn redirect_err(ctx: &RawTracePointContext) {
    let (err, map_id, index) = (ctx.arg::<i32>(3), ctx.arg::<u32>(5), ctx.arg::<u32>(6));
    if config().is_some_and(|config| config.devices_map_id == map_id) {
        add(
            FailureKey {
                kind: FailureKey::REDIRECT_ERR,
                subject: index,
                code: err.unsigned_abs(),
            },
            1,
        );
    }
}

/// `(from_dev, to_dev, sent, drops, err)`, once per bulk of up to 16 packets.
#[inline(always)]
pub(crate) fn devmap_xmit(ctx: &RawTracePointContext) {
    let (target, drops, err) = (ctx.arg::<usize>(1), ctx.arg::<i32>(3), ctx.arg::<i32>(4));
    if drops > 0
        && let Some(subject) = ifindex(target)
    {
        add(
            FailureKey {
                kind: FailureKey::DEVMAP_XMIT,
                subject,
                code: err.unsigned_abs(),
            },
            drops as u64,
        );
    }
}

/// `(dev, prog, act)`.
#[inline(always)]
pub(crate) fn exception(ctx: &RawTracePointContext) {
    let (device, action) = (ctx.arg::<usize>(0), ctx.arg::<u32>(2));
    if let Some(subject) = ifindex(device) {
        add(
            FailureKey {
                kind: FailureKey::EXCEPTION,
                subject,
                code: action,
            },
            1,
        );
    }
}

/// Returns the index of a `struct net_device` in the node's own network namespace. Other namespaces use the
/// same indexes.
#[inline(always)]
fn ifindex(device: usize) -> Option<u32> {
    let config = config()?;
    if config.net_device_ifindex == 0 || !is_in_own_namespace(device, config) {
        return None;
    }
    read(device, config.net_device_ifindex)
}

#[inline(always)]
fn is_in_own_namespace(device: usize, config: &Config) -> bool {
    if config.netns_cookie == 0 {
        return true;
    }
    let cookie =
        read::<usize>(device, config.net_device_net).and_then(|net| read::<u64>(net, config.net_cookie));
    cookie == Some(config.netns_cookie)
}

/// Reads a member of a kernel structure.
#[inline(always)]
fn read<T>(base: usize, offset: u32) -> Option<T> {
    let at = core::ptr::with_exposed_provenance::<T>(base + offset as usize);
    // SAFETY: the helper checks the address and fails on a wrong one; the types read are plain integers.
    unsafe { bpf_probe_read_kernel(at) }.ok()
}

#[inline(always)]
fn add(key: FailureKey, packets: u64) {
    if !add_to_existing(&key, packets) && FAILURES.insert(key, packets, u64::from(BPF_NOEXIST)).is_err() {
        // Another CPU was first, or the map is full.
        add_to_existing(&key, packets);
    }
}

#[inline(always)]
fn add_to_existing(key: &FailureKey, packets: u64) -> bool {
    let Some(value) = FAILURES.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: values of the map are eight aligned bytes, and all programs add to them atomically. In
    // assembly, because Rust's atomics have no addition on targets without compare-and-swap.
    unsafe {
        asm!("lock *(u64 *)({value} + 0) += {packets}", value = in(reg) value, packets = in(reg) packets);
    };
    true
}

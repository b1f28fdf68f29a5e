//! The maps of rate limits, which all CPUs change.
#![expect(unsafe_code, reason = "cells are changed atomically, by address")]

use core::arch::asm;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use xdp_core::{
    limits::{
        Admission, LimitCell, LimitSetCells, Limits, {self},
    },
    tables::{ActionRecord, Address, LimitSet, ShareWord, WAYS},
    verdict::PacketLimit,
};

use crate::{
    opaque::opaque,
    tables::{NAMESPACES, RULE_LIMITS, SOURCE_LIMITS, config},
};

/// A cell in a map: eight aligned bytes.
pub(crate) struct Shared(*mut u64);

impl LimitCell for Shared {
    #[inline(always)]
    fn get(&self) -> u64 {
        // SAFETY: elements of arrays live as long as the map; aligned, so read at once.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn compare_and_swap(&self, old: u64, new: u64) -> u64 {
        let seen;
        // SAFETY: as above, and all programs change the value only in this way. In assembly, because Rust has
        // no compare-and-swap for this target. The instruction is of Linux 5.12.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({cell} + 0, r0, {new})",
                cell = in(reg) self.0,
                new = in(reg) new,
                inout("r0") old => seen,
                options(nostack),
            );
        }
        seen
    }
}

/// A set in [`SOURCE_LIMITS`].
pub(crate) struct Sources(*mut LimitSet);

impl LimitSetCells for Sources {
    type LimitCell = Shared;

    #[inline(always)]
    fn owner(&self, way: usize) -> Shared {
        // SAFETY: the index is inside the array.
        Shared(unsafe { (&raw mut (*self.0).owner).cast::<u64>().add(way % WAYS) })
    }

    #[inline(always)]
    fn until(&self, way: usize) -> Shared {
        // SAFETY: as above.
        Shared(unsafe { (&raw mut (*self.0).until).cast::<u64>().add(way % WAYS) })
    }
}

/// The maps of limits, and the clock.
pub(crate) struct LimitMaps;

impl Limits for LimitMaps {
    type LimitCell = Shared;
    type LimitSetCells = Sources;

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper has no arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        config().map_or(0, |config| config.seed)
    }

    #[inline(always)]
    fn rejects_per_second(&self) -> u32 {
        config().map_or(0, |config| config.rejects_per_second)
    }

    #[inline(always)]
    fn answering(&self) -> u64 {
        namespace(0).unwrap_or_default()
    }

    #[inline(always)]
    fn share(&self, number: u16) -> Option<ShareWord> {
        namespace(number).map(ShareWord)
    }

    #[inline(always)]
    fn rule(&self, rule: u32) -> Option<Shared> {
        RULE_LIMITS.get_ptr_mut(rule).map(Shared)
    }

    #[inline(always)]
    fn set(&self, index: u32) -> Option<Sources> {
        SOURCE_LIMITS.get_ptr_mut(index).map(Sources)
    }

    #[inline(always)]
    fn opaque(&self, way: usize, unknown: u64) -> usize {
        opaque(way as u64, unknown) as usize
    }

    #[inline(always)]
    fn admits(&self, limit: &PacketLimit<'_>) -> Admission {
        let ActionRecord {
            rule,
            flags,
            namespace,
            interval,
            window,
            ..
        } = *limit.record;
        let Address { high, low } = limit.source;
        let numbers = u64::from(namespace) << 48 | u64::from(flags) << 32 | u64::from(rule);
        Admission::from_code(admits(numbers, interval, window, high, low))
    }

    #[inline(always)]
    fn answers(&self, namespace: u16) -> bool {
        answers(u32::from(namespace)) != 0
    }
}

/// Returns the word of a namespace, by its number.
#[inline(always)]
fn namespace(number: u16) -> Option<u64> {
    let word = NAMESPACES.get_ptr(u32::from(number))?;
    // SAFETY: array elements live as long as the map. The agent changes the word while programs run, so it is
    // read exactly once, as eight aligned bytes.
    Some(unsafe { word.read_volatile() })
}

/// Checks a rule's limit. A global function, which the verifier checks once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admits(numbers: u64, interval: u64, window: u64, high: u64, low: u64) -> u32 {
    let record = ActionRecord {
        rule: numbers as u32,
        flags: (numbers >> 32) as u8,
        namespace: (numbers >> 48) as u16,
        interval,
        window,
        ..ActionRecord::default()
    };
    let limit = PacketLimit {
        record: &record,
        source: Address { high, low },
    };
    limits::admits(&limit, &LimitMaps) as u32
}

/// Checks the limit of answers. Also a global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answers(namespace: u32) -> u32 {
    u32::from(limits::answers(namespace as u16, &LimitMaps))
}

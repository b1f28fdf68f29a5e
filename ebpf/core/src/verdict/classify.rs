//! Classifies a packet: from source, protocol and port to an action number, in a fixed number of steps
//! without branches.
//!
//! Every search is a binary search over sorted bounds, whose number is a power of two. It ends at the last
//! bound that is not larger than the key. Whatever a block holds, no index is out of bounds.

use super::RuleTables;
use crate::{
    key::{PacketKey, column},
    tables::{
        Address, Class, PORTS, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS, SOURCES, SourceRef,
        SourcesV4, SourcesV6,
    },
};

/// Returns the index of the source's class. `None` if a block is absent or the tree of sources is too deep.
#[inline(always)]
pub(super) fn find(pod: &PodBlock, key: &PacketKey, tables: &impl RuleTables) -> Option<u32> {
    if key.is_v4() {
        class_v4(pod.sources_v4, key.source().low as u32, tables)
    } else {
        class_v6(pod.sources_v6, key.source(), tables)
    }
}

#[inline(always)]
fn class_v4(mut at: SourceRef, source: u32, tables: &impl RuleTables) -> Option<u32> {
    for _ in 0..SOURCE_LEVELS {
        match at.get() {
            Ok(class) => return Some(class),
            Err(block) => at = search_v4(tables.sources_v4(block)?, source, tables),
        }
    }
    at.get().ok()
}

#[inline(always)]
fn class_v6(mut at: SourceRef, source: &Address, tables: &impl RuleTables) -> Option<u32> {
    for _ in 0..SOURCE_LEVELS {
        match at.get() {
            Ok(class) => return Some(class),
            Err(block) => at = search_v6(tables.sources_v6(block)?, source, tables),
        }
    }
    at.get().ok()
}

/// Returns the action number. `None` if a block is absent.
#[inline(always)]
pub(super) fn number(class: &Class, key: &PacketKey, tables: &impl RuleTables) -> Option<u16> {
    let at = match key.column() {
        column::TCP => class.tcp,
        column::UDP => class.udp,
        column::SCTP => class.sctp,
        column::ICMP => class.icmp,
        column::ICMPV6 => class.icmpv6,
        _ => PortRef::new(PortTarget::Action(class.portless)),
    };
    let next = |index| Some(search_ports(tables.ports(u32::from(index))?, key.port(), tables));
    let leaf = match at.get() {
        PortTarget::Action(number) => return Some(number),
        PortTarget::Leaf(leaf) => leaf,
        PortTarget::Top(top) => next(top)?,
        PortTarget::Root(root) => next(next(root)?)?,
    };
    next(leaf)
}

#[inline(always)]
fn search_v4(block: &SourcesV4, source: u32, tables: &impl RuleTables) -> SourceRef {
    let after = tables.opaque(u64::from(source) + 1);
    let found = search::<SOURCES, u32>(tables, |index| is_below(u64::from(block.bounds[index]), after));
    block.targets[found]
}

#[inline(always)]
fn search_v6(block: &SourcesV6, source: &Address, tables: &impl RuleTables) -> SourceRef {
    let found = search::<SOURCES, Address>(tables, |index| {
        tables.opaque(is_address_below(source, &block.bounds[index])) ^ 1
    });
    block.targets[found]
}

#[inline(always)]
fn search_ports(block: &Ports, port: u32, tables: &impl RuleTables) -> u16 {
    let after = tables.opaque(u64::from(port) + 1);
    let found = search::<PORTS, u16>(tables, |index| is_below(u64::from(block.bounds[index]), after));
    block.targets[found]
}

/// Returns the index of the last of `N` bounds that is not larger than the key, or zero. `is_reached` returns
/// 1 if the bound at an index is not larger than the key, and 0 otherwise.
///
/// Each step depends on the one before, so steps are short: offsets are in bytes of elements of type `T`, and
/// the result of a comparison is shifted to its bit. (A mask of -1 or 0 would be as short, but the verifier
/// of Linux 6.18 and later follows both cases of it.) The masks do not change the result: they prove that no
/// index is out of bounds.
#[inline(always)]
fn search<const N: usize, T>(tables: &impl RuleTables, is_reached: impl Fn(usize) -> u64) -> usize {
    let scale = size_of::<T>().ilog2();
    let (mut at, mut taken) = (0, 0);
    let mut bit = N.ilog2();
    while bit > 0 {
        bit -= 1;
        let reached = is_reached((at >> scale) as usize & (N - 1) | 1 << bit);
        let step = 1 << (bit + scale);
        at = tables.join((at, taken), (reached << (bit + scale), step));
        taken |= step;
    }
    (at >> scale) as usize & (N - 1)
}

/// Returns 1 if `a < b`, otherwise 0, for values below 2⁶³.
#[inline(always)]
fn is_below(a: u64, b: u64) -> u64 {
    a.wrapping_sub(b) >> 63
}

/// Returns the borrow of a subtraction of 128 bits: 1 if `a < b`, otherwise 0.
#[inline(always)]
fn is_address_below(a: &Address, b: &Address) -> u64 {
    borrow(a.high, b.high, borrow(a.low, b.low, 0))
}

/// Returns the borrow of `a - b - borrow`.
#[inline(always)]
fn borrow(a: u64, b: u64, borrow: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(borrow);
    ((!a & b) | (!(a ^ b) & difference)) >> 63
}

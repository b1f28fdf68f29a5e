//! From source, protocol and port to an action number, in a fixed number of steps without branches.
//!
//! Every search is a binary one over a power of two of sorted bounds. It ends at the last bound that is not larger than
//! the key, whatever the block holds, so nothing a table says can lead out of it.

use super::{Key, Tables, column};
use crate::tables::{
    Address, Class, PORTS, PodBlock, PortRef, PortTarget, Ports, SOURCE_LEVELS, SOURCES, SourceRef,
    SourcesV4, SourcesV6,
};

/// Class and action number; `None` if a block is missing or the tree of sources is too deep.
#[inline(always)]
pub(super) fn find(pod: &PodBlock, key: &Key, tables: &impl Tables) -> Option<(u32, u16)> {
    let index = if key.is_v4() {
        class_v4(pod.sources_v4, key.source().low as u32, tables)?
    } else {
        class_v6(pod.sources_v6, key.source(), tables)?
    };
    let number = number(tables.class(index)?, key, tables)?;
    Some((index, number))
}

#[inline(always)]
fn class_v4(mut at: SourceRef, source: u32, tables: &impl Tables) -> Option<u32> {
    for _ in 0..SOURCE_LEVELS {
        match at.get() {
            Ok(class) => return Some(class),
            Err(block) => at = search_v4(tables.sources_v4(block)?, source, tables),
        }
    }
    at.get().ok()
}

#[inline(always)]
fn class_v6(mut at: SourceRef, source: &Address, tables: &impl Tables) -> Option<u32> {
    for _ in 0..SOURCE_LEVELS {
        match at.get() {
            Ok(class) => return Some(class),
            Err(block) => at = search_v6(tables.sources_v6(block)?, source, tables),
        }
    }
    at.get().ok()
}

#[inline(always)]
fn number(class: &Class, key: &Key, tables: &impl Tables) -> Option<u16> {
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
fn search_v4(block: &SourcesV4, source: u32, tables: &impl Tables) -> SourceRef {
    let after = tables.opaque(u64::from(source) + 1);
    let found = search::<SOURCES, u32>(tables, |index| is_below(u64::from(block.lower[index]), after));
    block.then[found]
}

#[inline(always)]
fn search_v6(block: &SourcesV6, source: &Address, tables: &impl Tables) -> SourceRef {
    let found = search::<SOURCES, Address>(tables, |index| {
        tables.opaque(is_address_below(source, &block.lower[index])) ^ 1
    });
    block.then[found]
}

#[inline(always)]
fn search_ports(block: &Ports, port: u32, tables: &impl Tables) -> u16 {
    let after = tables.opaque(u64::from(port) + 1);
    let found = search::<PORTS, u16>(tables, |index| is_below(u64::from(block.lower[index]), after));
    block.then[found]
}

/// The last of `N` bounds that begins at or below the key, or the first: `begins` says 1 or 0 for an index.
///
/// What a step waits for is the step before, so steps are as short as can be: offsets of elements of type `T` are counted in
/// bytes, and a bit is shifted to where it counts. (A mask of -1 or 0 would be as short, but Linux since 6.18 follows both
/// cases of it.) The masks change nothing: they show that no index is out of bounds.
#[inline(always)]
fn search<const N: usize, T>(tables: &impl Tables, begins: impl Fn(usize) -> u64) -> usize {
    let scale = size_of::<T>().ilog2();
    let (mut at, mut taken) = (0, 0);
    let mut bit = N.ilog2();
    while bit > 0 {
        bit -= 1;
        let begins = begins((at >> scale) as usize & (N - 1) | 1 << bit);
        let step = 1 << (bit + scale);
        at = tables.join((at, taken), (begins << (bit + scale), step));
        taken |= step;
    }
    (at >> scale) as usize & (N - 1)
}

/// For values below 2⁶³.
#[inline(always)]
fn is_below(a: u64, b: u64) -> u64 {
    a.wrapping_sub(b) >> 63
}

/// The borrow out of a subtraction of 128 bits, half by half.
#[inline(always)]
fn is_address_below(a: &Address, b: &Address) -> u64 {
    borrow(a.high, b.high, borrow(a.low, b.low, 0))
}

/// The borrow out of `a - b - borrow`.
#[inline(always)]
fn borrow(a: u64, b: u64, borrow: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(borrow);
    ((!a & b) | (!(a ^ b) & difference)) >> 63
}

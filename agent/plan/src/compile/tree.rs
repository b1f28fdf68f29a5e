//! Builds trees of blocks from sorted bounds.

use std::collections::BTreeMap;

use xdp_core::tables::{
    Address, Class, PORTS, PortRef, PortTarget, Ports, SOURCES, SourceRef, SourcesV4, SourcesV6,
};

use super::{
    compiled::Compiled,
    limits::{Excess, Limit},
    paint::{Line, Painted},
};

/// Fills the blocks of a [`Compiled`].
#[derive(Default)]
pub(super) struct Builder {
    pub(super) compiled: Compiled,
    leaves: BTreeMap<Ports, u16>,
    tops: BTreeMap<Ports, u16>,
    roots: BTreeMap<Ports, u16>,
    classes: BTreeMap<Class, u32>,
}

impl Builder {
    /// Adds a class, unless an equal one exists.
    pub(super) fn class(&mut self, painted: &Painted) -> Result<u32, Excess> {
        let [tcp, udp, sctp, icmp, icmpv6] = &painted.columns;
        let class = Class {
            tcp: self.ports(tcp)?,
            udp: self.ports(udp)?,
            sctp: self.ports(sctp)?,
            icmp: self.ports(icmp)?,
            icmpv6: self.ports(icmpv6)?,
            portless: painted.portless,
            drops: painted.drops,
        };
        let list = &mut self.compiled.classes;
        let number = *self.classes.entry(class).or_insert_with(|| {
            list.push(class);
            list.len() as u32 - 1
        });
        Limit::Classes.check(list.len())?;
        Ok(number)
    }

    fn ports(&mut self, line: &Line) -> Result<PortRef, Excess> {
        if let [(_, number)] = line[..] {
            return Ok(PortRef::new(PortTarget::Action(number)));
        }
        Limit::PortIntervals.check(line.len())?;
        Limit::PortBlocks.check(self.compiled.port_blocks())?;
        let compiled = &mut self.compiled;
        let leaves = above(line, &mut self.leaves, &mut compiled.leaves);
        if let [(_, leaf)] = leaves[..] {
            return Ok(PortRef::new(PortTarget::Leaf(leaf)));
        }
        let tops = above(&leaves, &mut self.tops, &mut compiled.tops);
        if let [(_, top)] = tops[..] {
            return Ok(PortRef::new(PortTarget::Top(top)));
        }
        let root = intern(&ports(&tops), &mut self.roots, &mut compiled.roots);
        Ok(PortRef::new(PortTarget::Root(root)))
    }

    /// Builds the tree of IPv4 sources from the first address and the class of each interval.
    pub(super) fn sources_v4(&mut self, bounds: &[(u128, u32)]) -> Result<(), Excess> {
        let block = |chunk: &[(u128, SourceRef)]| SourcesV4 {
            bounds: padded(chunk, |(bound, _)| *bound as u32),
            targets: padded(chunk, |(_, target)| *target),
        };
        self.compiled.root_v4 = tree(bounds, block, &mut self.compiled.sources_v4)?;
        Limit::SourcesV4.check(self.compiled.sources_v4.len())
    }

    /// Builds the tree of IPv6 sources from the first address and the class of each interval.
    pub(super) fn sources_v6(&mut self, bounds: &[(u128, u32)]) -> Result<(), Excess> {
        let block = |chunk: &[(u128, SourceRef)]| SourcesV6 {
            bounds: padded(chunk, |(bound, _)| Address::v6(bound.to_be_bytes())),
            targets: padded(chunk, |(_, target)| *target),
        };
        self.compiled.root_v6 = tree(bounds, block, &mut self.compiled.sources_v6)?;
        Limit::SourcesV6.check(self.compiled.sources_v6.len())
    }
}

/// A level of blocks: the first port and the position of each block.
fn above(line: &[(u16, u16)], known: &mut BTreeMap<Ports, u16>, list: &mut Vec<Ports>) -> Vec<(u16, u16)> {
    let block = |chunk: &[(u16, u16)]| (chunk[0].0, intern(&ports(chunk), known, list));
    line.chunks(PORTS).map(block).collect()
}

/// Returns the position of a block. Adds the block if no equal one exists.
fn intern(block: &Ports, known: &mut BTreeMap<Ports, u16>, list: &mut Vec<Ports>) -> u16 {
    *known.entry(*block).or_insert_with(|| {
        list.push(*block);
        list.len() as u16 - 1
    })
}

fn ports(chunk: &[(u16, u16)]) -> Ports {
    Ports {
        bounds: padded::<_, _, PORTS>(chunk, |(bound, _)| *bound),
        targets: padded::<_, _, PORTS>(chunk, |(_, target)| *target),
    }
}

/// Pads a block by repeating the last bound and its value.
fn padded<T, U, const N: usize>(chunk: &[T], get: impl Fn(&T) -> U) -> [U; N] {
    std::array::from_fn(|index| get(&chunk[index.min(chunk.len() - 1)]))
}

/// Builds the tree level by level, starting with the classes. A single bound needs no block.
fn tree<B>(
    bounds: &[(u128, u32)],
    block: impl Fn(&[(u128, SourceRef)]) -> B,
    blocks: &mut Vec<B>,
) -> Result<SourceRef, Excess> {
    Limit::Sources.check(bounds.len())?;
    let class = |(bound, class): &(u128, u32)| (*bound, SourceRef::class(*class));
    let mut level: Vec<(u128, SourceRef)> = bounds.iter().map(class).collect();
    while level.len() > 1 {
        let above = level.chunks(SOURCES).map(|chunk| {
            if let [alone] = chunk {
                return *alone;
            }
            blocks.push(block(chunk));
            (chunk[0].0, SourceRef::block(blocks.len() as u32 - 1))
        });
        level = above.collect();
    }
    Ok(level[0].1)
}

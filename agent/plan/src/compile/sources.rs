//! Converts sources to sets of addresses.

use ipnet::IpNet;

use crate::policy::{Block, Source, Sources};

/// First and last address of an interval. IPv4 addresses are numbers below 2³².
pub(crate) type Interval = (u128, u128);

/// The largest IPv4 address.
pub(crate) const LAST_V4: u128 = u32::MAX as u128;
/// The largest IPv6 address.
pub(crate) const LAST_V6: u128 = u128::MAX;

/// A set of addresses for each family. Intervals are sorted, and neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) v4: Vec<Interval>,
    pub(crate) v6: Vec<Interval>,
}

impl Set {
    pub(crate) fn of(sources: &Sources) -> Self {
        match sources {
            Sources::Any => Self {
                v4: vec![(0, LAST_V4)],
                v6: vec![(0, LAST_V6)],
            },
            Sources::Listed(sources) => Self::of_blocks(blocks(sources)),
        }
    }

    /// Returns the addresses that are in one of two sets.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let union = |one: &[Interval], other: &[Interval]| merged([one, other].concat());
        Self {
            v4: union(&self.v4, &other.v4),
            v6: union(&self.v6, &other.v6),
        }
    }

    pub(crate) fn of_blocks<'a>(blocks: impl Iterator<Item = &'a Block>) -> Self {
        let mut set = Self::default();
        for block in blocks {
            let list = match block.cidr {
                IpNet::V4(_) => &mut set.v4,
                IpNet::V6(_) => &mut set.v6,
            };
            let mut holes: Vec<Interval> = block.except.iter().map(interval).collect();
            holes.sort_unstable();
            leave_out(interval(&block.cidr), &holes, list);
        }
        set.v4 = merged(set.v4);
        set.v6 = merged(set.v6);
        set
    }
}

/// Returns the blocks among the sources. Pod selectors are resolved to blocks before; any that remain match
/// nothing.
pub(crate) fn blocks(sources: &[Source]) -> impl Iterator<Item = &Block> {
    sources.iter().filter_map(|source| match source {
        Source::Block(block) => Some(block),
        Source::Pods(_) => None,
    })
}

fn interval(net: &IpNet) -> Interval {
    match net {
        IpNet::V4(net) => (
            u128::from(u32::from(net.network())),
            u128::from(u32::from(net.broadcast())),
        ),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}

/// Subtracts holes from an interval. The holes are sorted, are inside the interval, and may overlap.
fn leave_out((mut first, last): Interval, holes: &[Interval], rest: &mut Vec<Interval>) {
    for &(hole, end) in holes {
        if hole > first {
            rest.push((first, hole - 1));
        }
        if end >= last {
            return;
        }
        first = first.max(end + 1);
    }
    rest.push((first, last));
}

fn merged(mut list: Vec<Interval>) -> Vec<Interval> {
    list.sort_unstable();
    list.dedup_by(|next, before| {
        let touches = next.0 <= before.1.saturating_add(1);
        if touches {
            before.1 = before.1.max(next.1);
        }
        touches
    });
    list
}

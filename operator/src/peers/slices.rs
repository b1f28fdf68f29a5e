//! How addresses are divided.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most addresses in a slice.
pub const LARGEST: usize = 1000;

/// Divides addresses into slices, at least one. An address stays in the slice where it is, so that one pod's change
/// changes one slice. Only when half of the slices could be done without, the last ones are emptied into the others.
pub fn reslice(there: &BTreeMap<u32, Vec<IpAddr>>, wanted: &BTreeSet<IpAddr>) -> Vec<Vec<IpAddr>> {
    let needed = wanted.len().div_ceil(LARGEST).max(1);
    let last = there.last_key_value().map_or(0, |(number, _)| *number as usize);
    let kept = if last >= 2 * needed { needed } else { last + 1 };
    let (mut slices, new) = keep(there, wanted, kept);
    place(&mut slices, there, new);
    while slices.len() > 1 && slices.last().is_some_and(BTreeSet::is_empty) {
        slices.pop();
    }
    slices
        .into_iter()
        .map(|slice| slice.into_iter().collect())
        .collect()
}

/// What stays where it is in the first `kept` slices, and what has no place yet.
fn keep(
    there: &BTreeMap<u32, Vec<IpAddr>>,
    wanted: &BTreeSet<IpAddr>,
    kept: usize,
) -> (Vec<BTreeSet<IpAddr>>, BTreeSet<IpAddr>) {
    let mut slices = vec![BTreeSet::new(); kept];
    let mut new = wanted.clone();
    for (slice, number) in slices.iter_mut().zip(0..) {
        for address in there.get(&number).into_iter().flatten() {
            if slice.len() < LARGEST && new.remove(address) {
                slice.insert(*address);
            }
        }
    }
    (slices, new)
}

/// First into slices that change anyway, then into those with room, then into new ones.
fn place(slices: &mut Vec<BTreeSet<IpAddr>>, there: &BTreeMap<u32, Vec<IpAddr>>, new: BTreeSet<IpAddr>) {
    let changes = |slice: &BTreeSet<IpAddr>, number: u32| {
        there
            .get(&number)
            .is_none_or(|stored| !stored.iter().eq(slice.iter()))
    };
    let (mut order, rest): (Vec<usize>, Vec<usize>) =
        (0..slices.len()).partition(|number| changes(&slices[*number], *number as u32));
    order.extend(rest);
    let mut order = order.into_iter().peekable();
    for address in new {
        while order
            .peek()
            .is_some_and(|number| slices[*number].len() >= LARGEST)
        {
            order.next();
        }
        match order.peek() {
            Some(number) => slices[*number].insert(address),
            None => match slices.last_mut() {
                Some(last) if last.len() < LARGEST => last.insert(address),
                _ => {
                    slices.push(BTreeSet::from([address]));
                    true
                }
            },
        };
    }
}

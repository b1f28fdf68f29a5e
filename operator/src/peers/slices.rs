//! How addresses are divided.

use std::{collections::BTreeMap, net::IpAddr};

/// Most addresses in a slice.
pub const LARGEST: usize = 1000;

/// Divides addresses (in order, without repetition) into slices, at least one. An address stays in the slice where it
/// is, so that one pod's change changes one slice. Only when half of the slices could be done without, the last ones
/// are emptied into the others.
pub fn reslice(there: &BTreeMap<u32, &[IpAddr]>, wanted: &[IpAddr]) -> Vec<Vec<IpAddr>> {
    // Almost always, and at no cost: nothing has changed.
    if wanted.len() <= LARGEST && there.len() == 1 && there.get(&0) == Some(&wanted) {
        return vec![wanted.to_vec()];
    }
    let needed = wanted.len().div_ceil(LARGEST).max(1);
    let last = there.last_key_value().map_or(0, |(number, _)| *number as usize);
    let kept = if last >= 2 * needed { needed } else { last + 1 };
    let (mut slices, new) = keep(there, wanted, kept);
    place(&mut slices, there, new);
    for slice in &mut slices {
        slice.sort_unstable();
    }
    while slices.len() > 1 && slices.last().is_some_and(Vec::is_empty) {
        slices.pop();
    }
    slices
}

/// What stays where it is in the first `kept` slices, and what has no place yet.
fn keep(there: &BTreeMap<u32, &[IpAddr]>, wanted: &[IpAddr], kept: usize) -> (Vec<Vec<IpAddr>>, Vec<IpAddr>) {
    let mut slices = vec![Vec::new(); kept];
    let mut placed = vec![false; wanted.len()];
    for (slice, number) in slices.iter_mut().zip(0..) {
        for address in there.get(&number).copied().unwrap_or_default() {
            let Ok(index) = wanted.binary_search(address) else {
                continue;
            };
            if slice.len() < LARGEST && !std::mem::replace(&mut placed[index], true) {
                slice.push(*address);
            }
        }
    }
    let new = wanted.iter().zip(placed).filter(|(_, placed)| !placed);
    (slices, new.map(|(address, _)| *address).collect())
}

/// First into slices that change anyway, then into those with room, then into new ones.
fn place(slices: &mut Vec<Vec<IpAddr>>, there: &BTreeMap<u32, &[IpAddr]>, new: Vec<IpAddr>) {
    let changes = |number: usize| there.get(&(number as u32)) != Some(&slices[number].as_slice());
    let (mut order, rest): (Vec<usize>, Vec<usize>) = (0..slices.len()).partition(|number| changes(*number));
    order.extend(rest);
    let mut new = new.into_iter();
    for number in order {
        let room = LARGEST - slices[number].len();
        slices[number].extend(new.by_ref().take(room));
    }
    let rest: Vec<_> = new.collect();
    slices.extend(rest.chunks(LARGEST).map(<[IpAddr]>::to_vec));
}

//! Division of addresses into slices.

use std::{collections::BTreeMap, net::IpAddr};

/// The largest number of addresses in a slice.
pub const LARGEST: usize = 1000;

/// Divides addresses (sorted, without duplicates) into slices, at least one. An address stays in its slice,
/// so that a change of one pod changes one slice. If half of the slices suffice, the addresses of the last
/// ones move to the others.
pub fn reslice(stored: &BTreeMap<u32, &[IpAddr]>, wanted: &[IpAddr]) -> Vec<Vec<IpAddr>> {
    // The most frequent case: nothing has changed.
    if wanted.len() <= LARGEST && stored.len() == 1 && stored.get(&0) == Some(&wanted) {
        return vec![wanted.to_vec()];
    }
    let needed = wanted.len().div_ceil(LARGEST).max(1);
    let last = stored.last_key_value().map_or(0, |(number, _)| *number as usize);
    let kept = if last >= 2 * needed { needed } else { last + 1 };
    let (mut slices, new) = keep(stored, wanted, kept);
    add(&mut slices, stored, new);
    for slice in &mut slices {
        slice.sort_unstable();
    }
    while slices.len() > 1 && slices.last().is_some_and(Vec::is_empty) {
        slices.pop();
    }
    slices
}

/// Returns the first `kept` slices with the addresses that stay, and the addresses without a slice.
fn keep(
    stored: &BTreeMap<u32, &[IpAddr]>,
    wanted: &[IpAddr],
    kept: usize,
) -> (Vec<Vec<IpAddr>>, Vec<IpAddr>) {
    let mut slices = vec![Vec::new(); kept];
    let mut placed = vec![false; wanted.len()];
    for (slice, number) in slices.iter_mut().zip(0..) {
        for address in stored.get(&number).copied().unwrap_or_default() {
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

/// Adds addresses to slices: first to those that change anyway, then to those with room, then to new ones.
fn add(slices: &mut Vec<Vec<IpAddr>>, stored: &BTreeMap<u32, &[IpAddr]>, new: Vec<IpAddr>) {
    let changes = |number: usize| stored.get(&(number as u32)) != Some(&slices[number].as_slice());
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

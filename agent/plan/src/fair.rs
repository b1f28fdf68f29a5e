//! Shares out what is not enough for all.

use std::collections::BTreeMap;

/// Shares out a capacity, the smallest demands first (max-min fairness): none gets less than the smaller of
/// its demand and an equal part.
pub fn max_min(capacity: usize, demands: &[usize]) -> Vec<usize> {
    let mut given = vec![0; demands.len()];
    let mut by_demand: Vec<(&usize, &mut usize)> = demands.iter().zip(&mut given).collect();
    by_demand.sort_by_key(|(demand, _)| **demand);
    let (mut left, mut waiting) = (capacity, demands.len());
    for (demand, given) in by_demand {
        *given = (*demand).min(left / waiting);
        left -= *given;
        waiting -= 1;
    }
    given
}

/// Returns no more than `most` items, of each kind as many as of the others as far as there are. Their order
/// stays.
pub fn in_turns<T, K: Ord>(
    items: impl IntoIterator<Item = T>,
    most: usize,
    kind: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    let mut numbered: Vec<(usize, usize, T)> = Vec::new();
    for (position, item) in items.into_iter().enumerate() {
        let count = counts.entry(kind(&item)).or_default();
        numbered.push((*count, position, item));
        *count += 1;
    }
    numbered.sort_unstable_by_key(|(turn, position, _)| (*turn, *position));
    numbered.truncate(most);
    numbered.sort_unstable_by_key(|(_, position, _)| *position);
    numbered.into_iter().map(|(.., item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &&str) -> char {
        text.chars().next().unwrap()
    }

    #[test]
    fn what_small_demands_leave_is_for_the_large_ones() {
        assert_eq!(max_min(10, &[9, 1, 9]), [4, 1, 5]);
        assert_eq!(max_min(10, &[2, 3]), [2, 3]);
        assert_eq!(max_min(10, &[]), [0; 0]);
    }

    #[test]
    fn many_of_one_kind_leave_room_for_the_others() {
        let items = ["a1", "a2", "a3", "a4", "b1", "c1", "c2"];
        assert_eq!(in_turns(items, 5, first), ["a1", "a2", "b1", "c1", "c2"]);
        assert_eq!(in_turns(items, 6, first), ["a1", "a2", "a3", "b1", "c1", "c2"]);
        assert_eq!(in_turns(items, 100, first), items);
        assert_eq!(in_turns(items, 0, first), [""; 0]);
    }
}

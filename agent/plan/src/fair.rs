//! Lists that are shared out.

use std::collections::BTreeMap;

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
    fn many_of_one_kind_leave_room_for_the_others() {
        let items = ["a1", "a2", "a3", "a4", "b1", "c1", "c2"];
        assert_eq!(in_turns(items, 5, first), ["a1", "a2", "b1", "c1", "c2"]);
        assert_eq!(in_turns(items, 6, first), ["a1", "a2", "a3", "b1", "c1", "c2"]);
        assert_eq!(in_turns(items, 100, first), items);
        assert_eq!(in_turns(items, 0, first), [""; 0]);
    }
}

//! The packets that are not certainly allowed, laid over the rules of a pod.

use super::{
    flat::Flat,
    sources::{Interval, Set},
};
use crate::network_policy::{CertainTraffic, PortCertainty};

/// Sources by which of their packets are certainly allowed.
pub(super) struct Layer {
    /// Sources of each class, as far as rules that redirect match them. No source is in two classes.
    pub(super) sources: Vec<Set>,
    /// The ports of each class.
    pub(super) classes: Vec<PortCertainty>,
}

impl Layer {
    /// Lays certainty over rules. `None`: it restricts none of them.
    pub(super) fn new(flat: &Flat, certain: &CertainTraffic) -> Option<Self> {
        if certain.is_everything() {
            return None;
        }
        let restricted = flat.rules.iter().filter(|rule| rule.is_restricted);
        let within = restricted.map(|rule| &flat.sources[rule.sources as usize]);
        let within = within.fold(Set::default(), |all, set| all.union(set));
        let classes = certain.classes().to_vec();
        let mut sources = vec![Set::default(); classes.len()];
        for_each_within(certain.sources_v4(), &within.v4, |class, interval| {
            sources[class as usize].v4.push(interval);
        });
        for_each_within(certain.sources_v6(), &within.v6, |class, interval| {
            sources[class as usize].v6.push(interval);
        });
        let used = sources.iter().any(|set| *set != Set::default());
        used.then_some(Self { sources, classes })
    }
}

/// Calls `found` with each part of an interval of `classes` that is in one of `within`. Both are in order.
fn for_each_within(classes: &[(u128, u32)], within: &[Interval], mut found: impl FnMut(u32, Interval)) {
    let mut position = 0;
    for &(first, last) in within {
        // The interval with the first address: intervals of classes have no gaps.
        position += classes[position..].partition_point(|(bound, _)| *bound <= first) - 1;
        loop {
            let next = classes.get(position + 1).map(|(bound, _)| *bound);
            let (bound, class) = classes[position];
            let end = next.map_or(last, |next| last.min(next - 1));
            found(class, (first.max(bound), end));
            if end == last {
                break;
            }
            position += 1;
        }
    }
}

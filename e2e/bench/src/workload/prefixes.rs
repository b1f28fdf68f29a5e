//! Converts rules for tries: a source has the class of its longest network, and each class has a trie of
//! ports.

use std::collections::BTreeSet;

use super::{Network, WorkloadRule};

/// Networks of a pod; the class of a network is its index plus one.
pub struct Classes(pub Vec<Network>);

impl Classes {
    /// Returns all networks of the rules.
    pub fn of(rules: &[WorkloadRule]) -> Self {
        let networks: BTreeSet<Network> = rules.iter().map(|rule| rule.source).collect();
        Self(networks.into_iter().collect())
    }
}

/// Returns the port prefixes (value, length) of one class and protocol, with the rule that decides for each.
/// Networks are nested or disjoint, so the rules of a class are those whose network covers its own.
pub fn port_prefixes<'a>(
    rules: &'a [WorkloadRule],
    class: &Network,
    protocol: u8,
) -> Vec<(u16, u8, &'a WorkloadRule)> {
    let applies = |rule: &&WorkloadRule| rule.protocol == protocol && rule.source.covers(class);
    let rules: Vec<&WorkloadRule> = rules.iter().filter(applies).collect();
    let mut cuts = BTreeSet::from([0_u32, 1 << 16]);
    for rule in &rules {
        cuts.extend([u32::from(rule.low), u32::from(rule.high) + 1]);
    }
    let cuts: Vec<u32> = cuts.into_iter().collect();
    let mut prefixes = Vec::new();
    for pair in cuts.windows(2) {
        let first = pair[0] as u16;
        if let Some(rule) = rules.iter().find(|rule| rule.low <= first && first <= rule.high) {
            split(pair[0], pair[1], |value, length| {
                prefixes.push((value, length, *rule));
            });
        }
    }
    prefixes
}

/// Splits a half-open range into prefixes.
fn split(mut from: u32, to: u32, mut each: impl FnMut(u16, u8)) {
    while from < to {
        let aligned = if from == 0 {
            16
        } else {
            from.trailing_zeros().min(16)
        };
        let fits = (to - from).ilog2();
        let bits = aligned.min(fits);
        each(from as u16, 16 - bits as u8);
        from += 1 << bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_the_fewest_prefixes() {
        let mut prefixes = Vec::new();
        split(1024, 65536, |value, length| prefixes.push((value, length)));
        assert_eq!(
            prefixes,
            [(1024, 6), (2048, 5), (4096, 4), (8192, 3), (16384, 2), (32768, 1)]
        );
        prefixes.clear();
        split(0, 1 << 16, |value, length| prefixes.push((value, length)));
        assert_eq!(prefixes, [(0, 0)]);
    }
}

//! Identifies by numbers what is certainly allowed of pods' packets.

use std::{collections::BTreeMap, sync::Arc};

use crate::{network_policy::CertainTraffic, targets::Target};

/// Numbers of what is certainly allowed, by the place in memory. Equal contents have equal numbers.
#[derive(Debug, Default)]
pub(super) struct Certainties {
    known: BTreeMap<usize, Numbered>,
}

#[derive(Clone, Debug)]
struct Numbered {
    number: u64,
    /// Keeps the place in memory.
    content: Arc<CertainTraffic>,
}

impl Certainties {
    /// The number of a content of which nothing is certainly allowed, whatever the reasons.
    pub(super) const NOTHING: u64 = u64::MAX;

    /// Numbers the contents of all targets. Those that are known keep their numbers, and those of no target
    /// are dropped. `last` is the last number.
    pub(super) fn index(&mut self, targets: &[Target], last: &mut u64) {
        let before = std::mem::take(&mut self.known);
        for content in targets.iter().map(|target| &target.certain) {
            let place = place(content);
            if content.is_everything() || self.known.contains_key(&place) {
                continue;
            }
            let equal = before.get(&place).or_else(|| {
                before
                    .values()
                    .chain(self.known.values())
                    .find(|one| one.content == *content)
            });
            let number = equal.map_or_else(
                || {
                    *last += 1;
                    *last
                },
                |equal| equal.number,
            );
            let content = Arc::clone(content);
            self.known.insert(place, Numbered { number, content });
        }
    }

    /// Returns the number of a content; zero if everything is certainly allowed.
    pub(super) fn number(&self, content: &Arc<CertainTraffic>) -> u64 {
        let known = self.known.get(&place(content));
        known.map_or(0, |known| known.number)
    }
}

fn place(content: &Arc<CertainTraffic>) -> usize {
    Arc::as_ptr(content).addr()
}

//! Applies changes in their order, and leaves out those that rely on a failed one.

use std::collections::BTreeSet;

use xdp_core::tables::SlotWord;

use super::Change;
use crate::hook::Hook;

/// The result of one change.
#[derive(Debug)]
pub enum ChangeResult<E> {
    /// Applied.
    Applied,
    /// Left out, because an earlier change failed.
    Skipped,
    /// Not applied.
    Failed(E),
}

/// Applies changes in their order with `apply`, and returns one result per change. What may rely on a failed
/// change is left out; all else goes on:
///
/// - When something cannot be attached, other changes of the same hook go on, and everything after them is
///   left out. The caller compares again without what failed.
/// - When a change of a slot fails, later ones of that slot are left out.
/// - When a label, a share or a block cannot be written, no slot gets a block after it.
/// - When a share cannot be written, no other one is after it: they could overlap.
/// - What is still in use, because the change that would have ended that failed, is not removed.
pub fn apply_in_order<E>(
    changes: &[Change],
    mut apply: impl FnMut(&Change) -> Result<(), E>,
) -> Vec<ChangeResult<E>> {
    let mut failures = Failures::default();
    let step = |change: &Change| {
        if failures.prevent(change) {
            failures.note(change);
            return ChangeResult::Skipped;
        }
        match apply(change) {
            Ok(()) => ChangeResult::Applied,
            Err(error) => {
                failures.refused = failures.refused.or_else(|| rank(change));
                failures.note(change);
                ChangeResult::Failed(error)
            }
        }
    };
    changes.iter().map(step).collect()
}

/// Hooks in the order in which they are attached, after GRO.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Gro,
    Program(Hook),
}

/// The changes that were not applied so far.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of table")]
struct Failures {
    /// Where something could not be attached.
    refused: Option<Rank>,
    slots: BTreeSet<u32>,
    contents: bool,
    shares: bool,
    words: bool,
    places: bool,
    addresses: bool,
    fence: bool,
}

impl Failures {
    /// Returns whether `change` may rely on a change that was not applied.
    fn prevent(&self, change: &Change) -> bool {
        let late = self.refused.is_some() && rank(change) != self.refused;
        late || slot(change).is_some_and(|slot| self.slots.contains(&slot))
            || self.fence && change.is_of_tables()
            || match change {
                Change::SetWord { word, .. } if *word == SlotWord::EMPTY => self.places || self.addresses,
                Change::SetWord { .. } => self.contents,
                Change::ClearAddress { .. } => self.places,
                Change::ClearRuleLabel { .. } => self.words,
                Change::SetAnswering { .. } | Change::SetShare { .. } => self.shares || self.words,
                _ => false,
            }
    }

    /// Notes that `change` was not applied.
    fn note(&mut self, change: &Change) {
        self.slots.extend(slot(change));
        match change {
            Change::SetRuleLabel { .. } | Change::Write { .. } => self.contents = true,
            Change::SetAnswering { .. } | Change::SetShare { .. } => {
                (self.contents, self.shares) = (true, true);
            }
            Change::SetWord { .. } => self.words = true,
            Change::SetIndex { .. } => self.places = true,
            Change::SetAddress { .. } | Change::ClearAddress { .. } => self.addresses = true,
            Change::Fence => self.fence = true,
            _ => {}
        }
    }
}

/// Returns the slot whose later changes rely on this one.
fn slot(change: &Change) -> Option<u32> {
    match change {
        Change::SetIndex { word, .. } => word.address().and_then(|v4| word.slot(v4)),
        Change::SetPodLabel { slot, .. }
        | Change::ClearPodLabel { slot }
        | Change::SetDevice { slot, .. }
        | Change::ClearDevice { slot }
        | Change::SetWord { slot, .. }
        | Change::SetAddress { slot, .. } => Some(*slot),
        _ => None,
    }
}

/// Returns the rank of a change that attaches: later ranks and the tables rely on it.
const fn rank(change: &Change) -> Option<Rank> {
    match change {
        Change::SetGro { .. } => Some(Rank::Gro),
        Change::Attach { point, .. } | Change::Replace { point, .. } | Change::MoveFirst { point, .. } => {
            Some(Rank::Program(point.hook))
        }
        Change::Probe { .. } => Some(Rank::Program(Hook::Nic)),
        _ => None,
    }
}

//! Remembers which installed blocks equal which compiled rules.

use std::{collections::BTreeMap, sync::Arc};

use xdp_core::tables::{ActionRecord, PodBlock};

use crate::compile::Compiled;

/// Compiled rules, and the roots at which the kernel has them.
#[derive(Debug, Default)]
pub(crate) struct Trees(BTreeMap<Key, Tree>);

/// Address of the rules in memory, and roots of the blocks in the kernel.
type Key = (usize, u32, u32);

#[derive(Debug)]
struct Tree {
    /// Keeps the rules allocated, so that their address stays unique.
    rules: Arc<Compiled>,
    numbers: RuleNumbers,
}

/// The kernel's numbers of compiled rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleNumbers {
    /// Rule ids, in order.
    pub(super) ids: Arc<[u32]>,
    /// The number of their namespace; zero if they share nothing.
    pub(super) namespace: u16,
}

impl RuleNumbers {
    /// Returns a compiled record with its numbers.
    pub(super) fn number(&self, position: usize, record: &ActionRecord) -> ActionRecord {
        ActionRecord {
            rule: self.ids[position],
            namespace: if record.shares() { self.namespace } else { 0 },
            ..*record
        }
    }
}

impl Trees {
    /// Returns whether the block's trees equal these rules, with any numbers.
    pub(crate) fn have(&self, block: &PodBlock, rules: &Arc<Compiled>) -> bool {
        self.get(block, rules).is_some()
    }

    /// Returns whether the block's trees equal these rules with these numbers.
    pub(super) fn have_with(&self, block: &PodBlock, rules: &Arc<Compiled>, numbers: &RuleNumbers) -> bool {
        self.get(block, rules)
            .is_some_and(|tree| tree.numbers == *numbers)
    }

    pub(super) fn add(&mut self, block: &PodBlock, rules: &Arc<Compiled>, numbers: &RuleNumbers) {
        let tree = || Tree {
            rules: Arc::clone(rules),
            numbers: numbers.clone(),
        };
        self.0.entry(key(block, rules)).or_insert_with(tree);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn get(&self, block: &PodBlock, rules: &Arc<Compiled>) -> Option<&Tree> {
        let tree = self.0.get(&key(block, rules))?;
        Arc::ptr_eq(&tree.rules, rules).then_some(tree)
    }
}

pub(super) fn key(block: &PodBlock, rules: &Arc<Compiled>) -> Key {
    (address(rules), block.sources_v4.0, block.sources_v6.0)
}

/// Returns the address of a value in memory.
pub(super) fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).addr()
}

//! Remembers which installed blocks equal which compiled rules.

use std::{collections::BTreeMap, sync::Arc};

use xdp_core::tables::PodBlock;

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
    ids: Arc<[u32]>,
}

impl Trees {
    /// Returns whether the block's trees equal these rules, with any ids.
    pub(crate) fn have(&self, block: &PodBlock, rules: &Arc<Compiled>) -> bool {
        self.get(block, rules).is_some()
    }

    /// Returns whether the block's trees equal these rules with these ids.
    pub(super) fn have_with(&self, block: &PodBlock, rules: &Arc<Compiled>, ids: &[u32]) -> bool {
        self.get(block, rules).is_some_and(|tree| *tree.ids == *ids)
    }

    pub(super) fn add(&mut self, block: &PodBlock, rules: &Arc<Compiled>, ids: &Arc<[u32]>) {
        let tree = || Tree {
            rules: Arc::clone(rules),
            ids: Arc::clone(ids),
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

//! Allocates blocks of one kind: an installed block is found by content, a new block gets a free index.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::installed::Pool;

pub(super) struct Store<'a, T> {
    /// Installed blocks. They are never written to.
    installed: &'a Pool<T>,
    /// Hashes of the installed blocks with their indexes, sorted. Computed on first use.
    hashes: OnceCell<Vec<(u64, u32)>>,
    added: BTreeMap<T, u32>,
    writes: Vec<(u32, T)>,
    /// All indexes below this one are in use, or are written by this diff.
    next: u32,
    end: u32,
}

/// A state to which a [`Store`] can be reset.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    writes: usize,
    next: u32,
}

impl<'a, T: Copy + Ord + Hash> Store<'a, T> {
    /// Creates a store that allocates the indexes from `first` to `end`, exclusive.
    pub(super) const fn new(installed: &'a Pool<T>, first: u32, end: u32) -> Self {
        Self {
            installed,
            hashes: OnceCell::new(),
            added: BTreeMap::new(),
            writes: Vec::new(),
            next: first,
            end,
        }
    }

    /// Returns the index of a block, and allocates one if needed. `None`: no index is free.
    pub(super) fn place(&mut self, block: T) -> Option<u32> {
        if let Some(index) = self.find(&block) {
            return Some(index);
        }
        let index = (self.next..self.end).find(|index| !self.installed.contains(*index));
        self.next = index.map_or(self.end, |index| index + 1);
        let index = index?;
        self.added.insert(block, index);
        self.writes.push((index, block));
        Some(index)
    }

    pub(super) const fn now(&self) -> Moment {
        Moment {
            writes: self.writes.len(),
            next: self.next,
        }
    }

    /// Drops the blocks that were allocated since.
    pub(super) fn back_to(&mut self, moment: Moment) {
        for (_, block) in self.writes.drain(moment.writes..) {
            self.added.remove(&block);
        }
        self.next = moment.next;
    }

    /// Returns the blocks to write, in the order of their allocation.
    pub(super) fn into_writes(self) -> Vec<(u32, T)> {
        self.writes
    }

    fn find(&self, block: &T) -> Option<u32> {
        if let Some(index) = self.added.get(block) {
            return Some(*index);
        }
        if self.installed.is_empty() {
            return None;
        }
        let hash = hash(block);
        let hashes = self.hashes.get_or_init(|| hashes(self.installed));
        let start = hashes.partition_point(|(other, _)| *other < hash);
        let alike = hashes[start..].iter().take_while(|(other, _)| *other == hash);
        let mut indexes = alike.map(|(_, index)| *index);
        indexes.find(|index| self.installed.get(*index) == Some(block))
    }
}

fn hashes<T: Hash>(pool: &Pool<T>) -> Vec<(u64, u32)> {
    let mut hashes: Vec<_> = pool.iter().map(|(index, block)| (hash(block), index)).collect();
    hashes.sort_unstable();
    hashes
}

fn hash(block: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    block.hash(&mut hasher);
    hasher.finish()
}

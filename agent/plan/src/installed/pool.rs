//! Blocks of one kind.

use std::fmt;

/// Blocks by their index in the kernel's array. A look-up takes constant time.
#[derive(Clone)]
pub struct Pool<T> {
    /// Position in `blocks` plus one, by index. Zero: no block.
    places: Vec<u32>,
    blocks: Vec<(u32, T)>,
}

impl<T> Pool<T> {
    /// Returns the block at `index`.
    pub fn get(&self, index: u32) -> Option<&T> {
        let place = self.places.get(index as usize)?.checked_sub(1)?;
        self.blocks.get(place as usize).map(|(_, block)| block)
    }

    /// Returns whether a block is at `index`.
    pub fn contains(&self, index: u32) -> bool {
        self.get(index).is_some()
    }

    /// Inserts a block at `index`, or replaces it.
    pub fn insert(&mut self, index: u32, block: T) {
        let at = index as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        if let Some(place) = self.places[at].checked_sub(1) {
            self.blocks[place as usize].1 = block;
        } else {
            self.blocks.push((index, block));
            self.places[at] = self.blocks.len() as u32;
        }
    }

    /// Retains the blocks for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, &T) -> bool) {
        let blocks = std::mem::take(&mut self.blocks);
        *self = blocks
            .into_iter()
            .filter(|(index, block)| keep(*index, block))
            .collect();
    }

    /// Iterates over all blocks, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.blocks.iter().map(|(index, block)| (*index, block))
    }

    /// Returns the number of blocks.
    pub const fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether the pool has no block.
    pub const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl<T: PartialEq> Pool<T> {
    /// Returns whether no index has different blocks in `self` and `other`.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let mut both = self
            .iter()
            .filter_map(|(index, block)| Some((block, other.get(index)?)));
        both.all(|(here, there)| here == there)
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            blocks: Vec::new(),
        }
    }
}

impl<T> FromIterator<(u32, T)> for Pool<T> {
    fn from_iter<I: IntoIterator<Item = (u32, T)>>(blocks: I) -> Self {
        let mut pool = Self::default();
        for (index, block) in blocks {
            pool.insert(index, block);
        }
        pool
    }
}

/// Two pools are equal if they have equal blocks at the same indexes.
impl<T: PartialEq> PartialEq for Pool<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(index, block)| other.get(index) == Some(block))
    }
}

impl<T: Eq> Eq for Pool<T> {}

impl<T: fmt::Debug> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

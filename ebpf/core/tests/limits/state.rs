//! The tables of limits in memory. The clock stands until it is moved, and other CPUs step in where it hurts.

use std::sync::atomic::{AtomicU64, Ordering};

use xdp_core::{
    limits::{LimitCell, LimitSetCells, Limits, admits},
    tables::{ActionRecord, Address, LIMIT_SETS, MAX_LIMITS, MAX_NAMESPACES, ShareWord, WAYS},
    verdict::PacketLimit,
};

pub(crate) struct State {
    pub(crate) now: AtomicU64,
    pub(crate) rules: Vec<AtomicU64>,
    pub(crate) sets: Vec<[AtomicU64; 2 * WAYS]>,
    pub(crate) rejects: u32,
    pub(crate) answering: u64,
    pub(crate) shares: Vec<ShareWord>,
    /// Called once, before the next compare-and-swap.
    pub(crate) intruder: fn(&State),
    pub(crate) intrusions: AtomicU64,
}

impl State {
    /// One namespace has all sets.
    pub(crate) fn at(now: u64) -> Self {
        let mut shares = vec![ShareWord::EMPTY; MAX_NAMESPACES as usize];
        shares[usize::from(NAMESPACE)] = ShareWord::new(0, LIMIT_SETS as u16, TAG);
        Self {
            now: AtomicU64::new(now),
            rules: (0..MAX_LIMITS).map(|_| AtomicU64::new(0)).collect(),
            sets: (0..LIMIT_SETS)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
            rejects: 1000,
            answering: 1,
            shares,
            intruder: |_| {},
            intrusions: AtomicU64::new(0),
        }
    }

    pub(crate) fn wait(&self, nanoseconds: u64) {
        self.now.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn set_of(&self, record: &ActionRecord, source: Address) -> usize {
        let before: Vec<u64> = self
            .sets
            .iter()
            .map(|set| set[0].load(Ordering::Relaxed))
            .collect();
        admits(&PacketLimit { record, source }, &self);
        let changed =
            |(set, before): (&[AtomicU64; 2 * WAYS], &u64)| set[0].load(Ordering::Relaxed) != *before;
        self.sets.iter().zip(&before).position(changed).unwrap()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct At<'s> {
    state: &'s State,
    cell: &'s AtomicU64,
}

impl LimitCell for At<'_> {
    fn get(&self) -> u64 {
        self.cell.load(Ordering::Relaxed)
    }

    fn compare_and_swap(&self, old: u64, new: u64) -> u64 {
        if self.state.intrusions.load(Ordering::Relaxed) > 0 {
            self.state.intrusions.fetch_sub(1, Ordering::Relaxed);
            (self.state.intruder)(self.state);
        }
        match self
            .cell
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(seen) | Err(seen) => seen,
        }
    }
}

pub(crate) struct Ways<'s> {
    state: &'s State,
    cells: &'s [AtomicU64; 2 * WAYS],
}

impl<'s> LimitSetCells for Ways<'s> {
    type LimitCell = At<'s>;

    fn owner(&self, way: usize) -> At<'s> {
        At {
            state: self.state,
            cell: &self.cells[way],
        }
    }

    fn until(&self, way: usize) -> At<'s> {
        At {
            state: self.state,
            cell: &self.cells[WAYS + way],
        }
    }
}

impl<'s> Limits for &'s State {
    type LimitCell = At<'s>;
    type LimitSetCells = Ways<'s>;

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn seed(&self) -> u64 {
        0x1234_5678_9abc_def0
    }

    fn rejects_per_second(&self) -> u32 {
        self.rejects
    }

    fn answering(&self) -> u64 {
        self.answering
    }

    fn share(&self, namespace: u16) -> Option<ShareWord> {
        self.shares.get(usize::from(namespace)).copied()
    }

    fn rule(&self, rule: u32) -> Option<At<'s>> {
        let cell = self.rules.get(rule as usize)?;
        Some(At { state: self, cell })
    }

    fn set(&self, index: u32) -> Option<Ways<'s>> {
        let cells = self.sets.get(index as usize)?;
        Some(Ways { state: self, cells })
    }
}

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const RULE: u32 = 7;
pub(crate) const NAMESPACE: u16 = 3;
pub(crate) const TAG: u16 = 77;

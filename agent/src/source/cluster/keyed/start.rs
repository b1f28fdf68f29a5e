//! Decides when enough is known to change what is programmed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::KeyedStore;

/// How long keys that were added after the first ones may delay the start: a namespace whose policies change
/// all the time must not delay the others for ever.
pub(super) const ADDED: Duration = Duration::from_secs(10);
/// A list that the API server has refused for this long does not delay the start, if it answers others of the
/// kind.
pub(super) const REFUSED: Duration = Duration::from_mins(1);

/// The start: until then, what is programmed stays unchanged.
#[derive(Debug)]
pub(super) enum Start {
    /// No keys are known.
    Waiting,
    /// These are the first keys.
    Listing(BTreeSet<String>),
    /// The first keys are known since then.
    Listed(Instant),
    /// Everything is known. It stays so.
    Ready,
}

impl Start {
    pub(super) const fn new() -> Self {
        Self::Waiting
    }

    /// Records the first keys. Returns whether they are.
    pub(super) fn begin(&mut self, wanted: &BTreeSet<String>) -> bool {
        let first = matches!(self, Self::Waiting);
        if first {
            *self = Self::Listing(wanted.clone());
        }
        first
    }

    /// Returns when the start is due, whatever is known then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Listed(since) => Some(*since + ADDED),
            Self::Waiting | Self::Listing(_) | Self::Ready => None,
        }
    }
}

impl<V> KeyedStore<V> {
    /// Returns whether enough is known to change what is programmed.
    pub(in crate::source::cluster) const fn is_ready(&self) -> bool {
        matches!(self.start, Start::Ready)
    }

    /// Returns whether the key is known, or cannot be.
    pub(in crate::source::cluster) fn is_decided(&self, key: &str, now: Instant) -> bool {
        let complete = || self.watches.values().any(|watch| watch.store.is_complete());
        let refused = || {
            let mut watches = self.watches.values().filter(|watch| watch.keys.contains(key));
            watches.any(|watch| watch.refused.is_some_and(|since| now >= since + REFUSED))
        };
        self.is_known(key) || complete() && refused()
    }

    /// Decides about the start. Returns whether it has become ready.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        if let Start::Listing(first) = &self.start {
            // A key that is not wanted any more, and has expired, has no watch.
            let mut first = first.iter().filter(|key| self.keys.contains_key(*key));
            if first.all(|key| self.is_decided(key, now)) {
                self.start = Start::Listed(now);
            }
        }
        if let Start::Listed(since) = self.start {
            let mut wanted = self.keys.iter().filter(|(_, since)| since.is_none());
            if now >= since + ADDED || wanted.all(|(key, _)| self.is_decided(key, now)) {
                self.start = Start::Ready;
                return true;
            }
        }
        false
    }
}

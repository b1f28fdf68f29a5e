//! Objects of one kind that are watched by key, as keys come and go: decides which watches run, without IO.
//!
//! A key is a namespace or the identity of a set. A watch has one or more keys and does not change: for other
//! keys, another watch starts, and the earlier one ends when the list of its successor is complete. So an
//! object that is needed is never unknown in between.

mod start;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use xdp_client::{
    Observed, Store,
    object::{ObjectName, Versioned},
    watch::Event,
};

use self::start::Start;

/// A key that is no longer wanted is watched for this much longer: pods of a namespace come and go, and each
/// start of a watch costs a list.
const LINGER: Duration = Duration::from_mins(5);

/// How keys are shared out to watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The most keys of one watch.
    pub(super) keys: usize,
    /// Up to this number of watches, new keys get a watch of their own. Then the smallest one is replaced.
    pub(super) watches: usize,
    /// Shortest time between two starts.
    pub(super) interval: Duration,
}

/// The objects behind the wanted keys.
#[derive(Debug)]
pub(super) struct KeyedStore<V> {
    shape: Shape,
    /// The keys that are wanted, or since when they are not.
    keys: BTreeMap<String, Option<Instant>>,
    watches: BTreeMap<u64, KeyedWatch<V>>,
    next: u64,
    last_start: Option<Instant>,
    start: Start,
}

/// A watch with its objects.
#[derive(Debug)]
struct KeyedWatch<V> {
    keys: BTreeSet<String>,
    store: Store<V>,
    /// Since when the API server refuses the first list.
    refused: Option<Instant>,
}

/// What has to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) stop: Vec<u64>,
    pub(super) start: Vec<(u64, BTreeSet<String>)>,
    /// When to ask again.
    pub(super) again: Option<Instant>,
    /// Whether what the loop reads has changed.
    pub(super) changed: bool,
}

impl<V: PartialEq> KeyedStore<V> {
    pub(super) const fn new(shape: Shape) -> Self {
        Self {
            shape,
            keys: BTreeMap::new(),
            watches: BTreeMap::new(),
            next: 0,
            last_start: None,
            start: Start::new(),
        }
    }

    /// Sets the wanted keys. Returns whether [`Self::steps`] has to be asked.
    pub(super) fn want(&mut self, wanted: &BTreeSet<String>, now: Instant) -> bool {
        let mut changed = self.start.begin(wanted);
        for (key, since) in &mut self.keys {
            let is_wanted = wanted.contains(key);
            changed |= is_wanted != since.is_none();
            *since = if is_wanted { None } else { since.or(Some(now)) };
        }
        for key in wanted {
            if !self.keys.contains_key(key) {
                self.keys.insert(key.clone(), None);
                changed = true;
            }
        }
        self.advance(now);
        changed
    }

    /// Decides which watches start and end.
    pub(super) fn steps(&mut self, now: Instant) -> Steps {
        self.keys
            .retain(|_, since| since.is_none_or(|since| now < since + LINGER));
        let mut steps = Steps {
            stop: self.obsolete(),
            changed: self.advance(now),
            ..Steps::default()
        };
        for id in &steps.stop {
            let ended = self.watches.remove(id);
            steps.changed |= ended.is_some_and(|watch| !watch.store.is_empty());
        }
        let due = self.last_start.map(|last| last + self.shape.interval);
        let mut open = self.open();
        if !open.is_empty() && due.is_none_or(|due| due <= now) {
            self.widen(&mut open);
            steps.start = self.begin(open, now);
        } else if !open.is_empty() {
            steps.again = due;
        }
        let expiry = self.keys.values().flatten().map(|since| *since + LINGER).min();
        let ready = self.start.deadline();
        steps.again = [steps.again, expiry, ready].into_iter().flatten().min();
        steps
    }

    /// Applies an event of a watch. Returns whether what the loop reads has changed.
    pub(super) fn apply(&mut self, id: u64, event: Event<Versioned<V>>, now: Instant) -> bool {
        let mut changed = false;
        self.apply_observed(id, event, now, |_| changed = true) || changed
    }

    /// Applies an event of a watch, and calls `observe` for each object whose value changes. Returns whether
    /// a first list has become complete.
    pub(super) fn apply_observed(
        &mut self,
        id: u64,
        event: Event<Versioned<V>>,
        now: Instant,
        observe: impl FnMut(Observed<'_, V>),
    ) -> bool {
        let Some(watch) = self.watches.get_mut(&id) else {
            return false;
        };
        let was_complete = watch.store.is_complete();
        watch.store.apply_observed(event, observe);
        let is_complete = watch.store.is_complete();
        if is_complete {
            watch.refused = None;
        }
        self.advance(now) || is_complete != was_complete
    }

    /// Records that the API server has refused a request of a watch. Returns as [`Self::apply`].
    pub(super) fn refused(&mut self, id: u64, now: Instant) -> bool {
        if let Some(watch) = self.watches.get_mut(&id)
            && !watch.store.is_complete()
        {
            watch.refused.get_or_insert(now);
        }
        self.advance(now)
    }

    /// Returns the keys that a new watch has to have: those without a watch, and those of a watch that also
    /// has keys that have expired.
    fn open(&self) -> BTreeSet<String> {
        let mut open: BTreeSet<String> = self.keys.keys().cloned().collect();
        for watch in self.watches.values() {
            if watch.keys.iter().all(|key| self.keys.contains_key(key)) {
                open.retain(|key| !watch.keys.contains(key));
            }
        }
        open
    }

    /// Adds the keys of the smallest watch, if there are as many watches as there should be.
    fn widen(&self, open: &mut BTreeSet<String>) {
        if self.watches.len() < self.shape.watches {
            return;
        }
        let live = |watch: &KeyedWatch<V>| {
            watch
                .keys
                .iter()
                .filter(|key| self.keys.contains_key(*key))
                .count()
        };
        let smallest = self.watches.values().min_by_key(|watch| live(watch));
        if let Some(smallest) = smallest.filter(|watch| live(watch) + open.len() <= self.shape.keys) {
            let keys = smallest.keys.iter().filter(|key| self.keys.contains_key(*key));
            open.extend(keys.cloned());
        }
    }

    fn begin(&mut self, open: BTreeSet<String>, now: Instant) -> Vec<(u64, BTreeSet<String>)> {
        self.last_start = Some(now);
        let open: Vec<String> = open.into_iter().collect();
        let mut started = Vec::new();
        for keys in open.chunks(self.shape.keys) {
            let keys: BTreeSet<String> = keys.iter().cloned().collect();
            started.push((self.next, keys.clone()));
            let watch = KeyedWatch {
                keys,
                store: Store::default(),
                refused: None,
            };
            self.watches.insert(self.next, watch);
            self.next += 1;
        }
        started
    }

    /// Returns the watches whose keys have expired, or have a later watch with a complete list.
    fn obsolete(&self) -> Vec<u64> {
        let replaced = |id: u64, key: &String| {
            let mut later = self.watches.range(id + 1..).map(|(_, later)| later);
            later.any(|later| later.store.is_complete() && later.keys.contains(key))
        };
        let is_obsolete = |(id, watch): &(&u64, &KeyedWatch<V>)| {
            let mut keys = watch.keys.iter();
            keys.all(|key| !self.keys.contains_key(key) || replaced(**id, key))
        };
        self.watches
            .iter()
            .filter(is_obsolete)
            .map(|(id, _)| *id)
            .collect()
    }
}

impl<V> KeyedStore<V> {
    /// Returns whether the list of this key was complete once.
    pub(super) fn is_known(&self, key: &str) -> bool {
        self.watches
            .values()
            .any(|watch| watch.store.is_complete() && watch.keys.contains(key))
    }

    /// Returns all objects. Of two watches with the same one, the later counts.
    pub(super) fn objects(&self) -> BTreeMap<&ObjectName, &V> {
        self.watches
            .values()
            .flat_map(|watch| watch.store.iter())
            .collect()
    }

    /// Returns whether the list of this key was complete once, or the API server refuses it.
    pub(super) fn is_answered(&self, key: &str) -> bool {
        let mut watches = self.watches.values().filter(|watch| watch.keys.contains(key));
        watches.any(|watch| watch.store.is_complete() || watch.refused.is_some())
    }

    /// Returns the names of all objects; that of an object in two watches twice.
    pub(super) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        let stores = self.watches.values().map(|watch| &watch.store);
        stores.flat_map(|store| store.iter().map(|(name, _)| name))
    }

    /// Returns the number of wanted keys whose list was never complete, and the number of wanted keys.
    pub(super) fn unknown(&self) -> (usize, usize) {
        let wanted = || self.keys.iter().filter(|(_, since)| since.is_none());
        let unknown = wanted().filter(|(key, _)| !self.is_known(key)).count();
        (unknown, wanted().count())
    }
}

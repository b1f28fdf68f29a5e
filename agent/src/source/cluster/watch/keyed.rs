//! Runs the watches of a kind whose objects are watched by key.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use futures::{
    StreamExt as _,
    future::{Either, pending},
    stream::{AbortHandle, LocalBoxStream, SelectAll, abortable},
};
use tokio::{sync::Notify, time::sleep_until};
use xdp_client::{
    object::Versioned,
    watch::{Event, WatchError},
};

use super::{failed, is_answer};
use crate::source::cluster::{
    Shared,
    cache::Cache,
    keyed::{KeyedStore, Steps},
};

/// A kind of objects that is watched by key.
pub(super) trait KeyedKind {
    /// What is stored of an object.
    type Value: PartialEq;

    /// Returns the kind, for problems and metrics.
    fn kind(&self) -> &'static str;

    /// Wakes the task when other keys are wanted.
    fn wanted(&self) -> &Notify;

    /// Returns where objects are stored. `None`: the kind is no longer served.
    fn store<'c>(&self, cache: &'c mut Cache) -> Option<&'c mut KeyedStore<Self::Value>>;

    /// Stores an event. Returns whether what the loop reads has changed.
    fn apply(&self, cache: &mut Cache, id: u64, event: Event<Versioned<Self::Value>>, now: Instant) -> bool {
        let store = self.store(cache);
        store.is_some_and(|store| store.apply(id, event, now))
    }
}

/// A kind of which every object concerns this node.
pub(super) struct StoredKind<'a, V> {
    pub(super) kind: &'static str,
    pub(super) store: fn(&mut Cache) -> &mut KeyedStore<V>,
    pub(super) wanted: &'a Notify,
}

impl<V: PartialEq> KeyedKind for StoredKind<'_, V> {
    type Value = V;

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn wanted(&self) -> &Notify {
        self.wanted
    }

    fn store<'c>(&self, cache: &'c mut Cache) -> Option<&'c mut KeyedStore<V>> {
        Some((self.store)(cache))
    }
}

type Received<V> = Result<Event<Versioned<V>>, WatchError>;
pub(super) type Events<'a, V> = LocalBoxStream<'a, Received<V>>;

/// Runs the watches of the wanted keys; `watch` starts one. Never returns.
pub(super) async fn follow_keyed<'a, K>(
    kind: K,
    watch: impl Fn(&BTreeSet<String>) -> Events<'a, K::Value>,
    shared: &Shared,
) where
    K: KeyedKind<Value: 'a>,
{
    let mut running = Running {
        events: SelectAll::new(),
        handles: BTreeMap::new(),
    };
    loop {
        let again = running.step(&kind, &watch, shared);
        let again = again.map_or(Either::Right(pending()), |again| {
            Either::Left(sleep_until(again.into()))
        });
        tokio::pin!(again);
        loop {
            tokio::select! {
                Some((id, event)) = running.events.next() => {
                    if received(&kind, id, event, shared) {
                        break;
                    }
                }
                () = kind.wanted().notified() => break,
                () = &mut again => break,
            }
        }
    }
}

/// The watches that run.
struct Running<'a, V> {
    events: SelectAll<LocalBoxStream<'a, (u64, Received<V>)>>,
    handles: BTreeMap<u64, AbortHandle>,
}

impl<'a, V: PartialEq + 'a> Running<'a, V> {
    /// Starts and ends watches. Returns when to do so again.
    fn step(
        &mut self,
        kind: &impl KeyedKind<Value = V>,
        watch: impl Fn(&BTreeSet<String>) -> Events<'a, V>,
        shared: &Shared,
    ) -> Option<Instant> {
        let mut cache = shared.cache();
        let steps = kind.store(&mut cache).map(|store| store.steps(Instant::now()));
        let Steps {
            stop,
            start,
            again,
            changed,
        } = steps.unwrap_or_default();
        for id in stop {
            cache.watch_works((kind.kind(), id));
            if let Some(handle) = self.handles.remove(&id) {
                handle.abort();
            }
        }
        if changed {
            cache.mark_changed(Instant::now());
        }
        drop(cache);
        for (id, keys) in start {
            let events = watch(&keys).map(move |event| (id, event));
            let (events, handle) = abortable(events);
            self.handles.insert(id, handle);
            self.events.push(events.boxed_local());
        }
        if changed {
            (shared.wake)();
        }
        again
    }
}

/// Stores an event. Returns whether watches may have to start or end now.
fn received<K: KeyedKind>(kind: &K, id: u64, event: Received<K::Value>, shared: &Shared) -> bool {
    let now = Instant::now();
    let watch = (kind.kind(), id);
    let (changed, recovered, listed) = match event {
        Ok(event) => {
            let listed = matches!(event, Event::InitDone);
            let mut cache = shared.cache();
            let recovered = is_answer(&event) && cache.watch_works(watch);
            let changed = kind.apply(&mut cache, id, event, now);
            (changed, recovered, listed)
        }
        Err(error) => {
            let refused = failed(watch, &error, shared);
            let mut cache = shared.cache();
            let store = kind.store(&mut cache).filter(|_| refused);
            (store.is_some_and(|store| store.refused(id, now)), false, false)
        }
    };
    if changed {
        shared.cache().mark_changed(now);
    }
    if changed || recovered {
        (shared.wake)();
    }
    listed
}

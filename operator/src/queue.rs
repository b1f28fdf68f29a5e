//! A queue of work that is fair between namespaces: each namespace in turn gets one piece of work done. One
//! that has much of it delays the others by one piece only.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use xdp_client::backoff::{Backoff, RetrySchedule};

/// Work by key. A key is queued at most once, and is not started again while it is running, before its
/// interval has passed, or before its backoff after a failure.
#[derive(Debug)]
pub struct WorkQueue<K> {
    /// The largest number of pieces that run at the same time.
    limit: usize,
    /// Queued keys, by each namespace that waits for them.
    ready: BTreeMap<String, VecDeque<K>>,
    queued: BTreeSet<K>,
    /// The namespace whose turn was last.
    last: String,
    running: BTreeSet<K>,
    /// Keys that became due while they were running, with their namespaces.
    again: BTreeMap<K, Vec<String>>,
    /// Keys that are due later, with their namespaces.
    waiting: BTreeMap<(Instant, K), Vec<String>>,
    schedule: RetrySchedule<K>,
}

/// How a piece of work has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// There was nothing to do.
    Nothing,
    /// It succeeded, and the key has more work, which must not wait.
    Continue,
    /// It succeeded. The key waits for this time before it is started again.
    Pause(Duration),
    /// It failed. The key waits for its backoff; this number, from 0 to 1, is its jitter.
    Failed(f32),
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// Creates an empty queue, of which at most `limit` pieces run at the same time.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            ready: BTreeMap::new(),
            queued: BTreeSet::new(),
            last: String::new(),
            running: BTreeSet::new(),
            again: BTreeMap::new(),
            waiting: BTreeMap::new(),
            schedule: RetrySchedule::new(Backoff::API),
        }
    }

    /// Queues a key for the namespaces that wait for it.
    pub fn add(&mut self, key: K, namespaces: Vec<String>, now: Instant) {
        if self.running.contains(&key) {
            self.again.insert(key, namespaces);
        } else if let Some(until) = self.schedule.wait(&key, now) {
            self.waiting.insert((until, key), namespaces);
        } else {
            self.enqueue(key, namespaces);
        }
    }

    fn enqueue(&mut self, key: K, namespaces: Vec<String>) {
        if self.queued.insert(key.clone()) {
            for namespace in namespaces {
                self.ready.entry(namespace).or_default().push_back(key.clone());
            }
        }
    }

    /// Starts a piece of work: that of the namespace whose turn it is. `None` if nothing may start now.
    pub fn start(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        if self.running.len() >= self.limit {
            return None;
        }
        let key = loop {
            let namespace = self.next_namespace()?;
            let queue = self.ready.get_mut(&namespace)?;
            let key = queue.pop_front();
            if queue.is_empty() {
                self.ready.remove(&namespace);
            }
            self.last = namespace;
            // A key that several namespaces wait for is started by the first.
            if let Some(key) = key.filter(|key| self.queued.remove(key)) {
                break key;
            }
        };
        self.running.insert(key.clone());
        Some(key)
    }

    fn next_namespace(&self) -> Option<String> {
        use std::ops::Bound::{Excluded, Unbounded};
        let later = (Excluded(&self.last), Unbounded);
        let mut after = self.ready.range::<String, _>(later);
        let next = after.next().or_else(|| self.ready.first_key_value());
        next.map(|(namespace, _)| namespace.clone())
    }

    /// Queues what has waited long enough.
    fn wake(&mut self, now: Instant) {
        while let Some(((until, _), _)) = self.waiting.first_key_value()
            && *until <= now
        {
            if let Some(((_, key), namespaces)) = self.waiting.pop_first() {
                self.enqueue(key, namespaces);
            }
        }
    }

    /// Records the end of a piece of work. `namespaces` wait for the next one of the key.
    pub fn finish(&mut self, key: &K, finish: Finish, namespaces: Vec<String>, now: Instant) {
        self.running.remove(key);
        let again = self.again.remove(key).is_some();
        match finish {
            Finish::Nothing if !again => return,
            Finish::Nothing | Finish::Continue => {}
            Finish::Pause(interval) => {
                self.schedule.succeeded(key, now, interval);
                if !again {
                    return;
                }
            }
            Finish::Failed(jitter) => self.schedule.failed(key, now, jitter),
        }
        self.add(key.clone(), namespaces, now);
    }

    /// Returns when something that waits is due.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((until, _), _)| *until)
    }

    /// Drops what is not needed to know when a key may be started.
    pub fn prune(&mut self, now: Instant) {
        self.schedule.prune(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn of(namespace: &str) -> Vec<String> {
        vec![namespace.to_owned()]
    }

    #[test]
    fn a_namespace_with_much_work_delays_another_by_one_piece() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        for number in 0..1000 {
            queue.add(format!("a{number}"), of("a"), now);
        }
        let first = queue.start(now).unwrap();
        queue.add("b0".to_owned(), of("b"), now);
        queue.finish(&first, Finish::Nothing, of("a"), now);
        assert_eq!(queue.start(now).as_deref(), Some("b0"));
    }

    #[test]
    fn work_that_several_namespaces_wait_for_is_done_once_in_the_first_turn() {
        let (mut queue, now) = (WorkQueue::new(10), Instant::now());
        queue.add("x", of("a"), now);
        queue.add("y", of("a"), now);
        queue.add("shared", vec!["a".to_owned(), "b".to_owned()], now);
        let order: Vec<_> = std::iter::from_fn(|| queue.start(now)).collect();
        assert_eq!(order, ["x", "shared", "y"]);
    }

    #[test]
    fn work_that_becomes_due_while_it_runs_is_done_again_and_never_twice_at_once() {
        let (mut queue, now) = (WorkQueue::new(10), Instant::now());
        queue.add("x", of("a"), now);
        queue.add("x", of("a"), now);
        assert_eq!((queue.start(now), queue.start(now)), (Some("x"), None));
        queue.add("x", of("a"), now);
        assert_eq!(queue.start(now), None);
        queue.finish(&"x", Finish::Nothing, of("a"), now);
        assert_eq!(queue.start(now), Some("x"));
        queue.finish(&"x", Finish::Nothing, of("a"), now);
        assert_eq!(queue.start(now), None);
    }

    #[test]
    fn a_pause_delays_the_next_start_and_a_continuation_does_not_wait() {
        let (mut queue, now) = (WorkQueue::new(10), Instant::now());
        queue.add("x", of("a"), now);
        queue.start(now);
        queue.finish(&"x", Finish::Continue, of("a"), now);
        assert_eq!(queue.start(now), Some("x"));
        queue.finish(&"x", Finish::Pause(100 * MS), of("a"), now);
        assert_eq!(
            (queue.start(now), queue.due()),
            (None, None),
            "nothing more to do"
        );
        queue.add("x", of("a"), now + 10 * MS);
        assert_eq!(queue.start(now + 10 * MS), None);
        assert_eq!(queue.due(), Some(now + 100 * MS));
        assert_eq!(queue.start(now + 100 * MS), Some("x"));
    }

    #[test]
    fn a_failure_is_tried_again_after_its_backoff_and_others_do_not_wait() {
        let (mut queue, now) = (WorkQueue::new(10), Instant::now());
        queue.add("x", of("a"), now);
        queue.start(now);
        queue.finish(&"x", Finish::Failed(0.0), of("a"), now);
        queue.add("x", of("a"), now + MS);
        queue.add("y", of("a"), now + MS);
        assert_eq!((queue.start(now + MS), queue.start(now + MS)), (Some("y"), None));
        assert_eq!(queue.start(now + 500 * MS), Some("x"));
    }

    #[test]
    fn no_more_pieces_run_than_the_limit() {
        let (mut queue, now) = (WorkQueue::new(2), Instant::now());
        for key in ["x", "y", "z"] {
            queue.add(key, of("a"), now);
        }
        assert_eq!(std::iter::from_fn(|| queue.start(now)).count(), 2);
        queue.finish(&"x", Finish::Nothing, of("a"), now);
        assert_eq!(queue.start(now), Some("z"));
    }
}

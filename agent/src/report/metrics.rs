//! What `/metrics` shows: what the loop counts, and what the kernel holds at that moment.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use xdp_core::tables::MAX_RULES;

use crate::report::status::FlowUsage;

mod encode;
mod kernel;
#[cfg(test)]
mod tests;

pub use encode::{Format, encode};

/// Upper bounds in seconds, of rounds as well as of delays: a round takes milliseconds, a tenth of a second under
/// load, and what waits for a person or a server takes longer than any bound.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Each rule belongs to one policy: more policies than rules cannot be in force.
const MAX_POLICIES: usize = MAX_RULES as usize;

/// One label whose values are known beforehand.
type Result = [(&'static str, &'static str); 1];

const SUCCESS: Result = [("result", "success")];
const ERROR: Result = [("result", "error")];

/// What the loop counts. Every method takes well under a microsecond or one short lock.
#[derive(Debug)]
pub struct Metrics {
    reconciles: Family<Result, Counter>,
    reconcile_duration: Histogram,
    enforcement_delay: Histogram,
    status_writes: Family<Result, Counter>,
    scrape_errors: Counter,
    problems: Gauge,
    /// Generation by namespace and name; the list is exchanged as a whole, so that what is gone is not shown.
    policies: Mutex<BTreeMap<(String, String), i64>>,
    /// The most that was ever shown by table.
    evicted: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_duration: Histogram::new(BUCKETS),
            enforcement_delay: Histogram::new(BUCKETS),
            status_writes: Family::default(),
            scrape_errors: Counter::default(),
            problems: Gauge::default(),
            policies: Mutex::default(),
            evicted: Mutex::default(),
        };
        // A counter that appears with its first event hides that event from `increase()`.
        for result in [SUCCESS, ERROR] {
            drop(metrics.reconciles.get_or_create(&result));
        }
        for result in [SUCCESS, ERROR] {
            drop(metrics.status_writes.get_or_create(&result));
        }
        metrics
    }
}

impl Metrics {
    /// Records a finished reconcile. `success`: everything that can be programmed is.
    pub fn reconciled(&self, success: bool, took: Duration) {
        let result = if success { SUCCESS } else { ERROR };
        self.reconciles.get_or_create(&result).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// A change of an object has come into force; `delay` since the event that brought it.
    pub fn enforced(&self, delay: Duration) {
        self.enforcement_delay.observe(delay.as_secs_f64());
    }

    /// The status of this node was sent to the API server.
    pub fn status_written(&self, success: bool) {
        let result = if success { SUCCESS } else { ERROR };
        self.status_writes.get_or_create(&result).inc();
    }

    /// The policies that are programmed for pods of this node: namespace, name and programmed generation.
    pub fn policies(&self, policies: Vec<(String, String, i64)>) {
        let policies = policies
            .into_iter()
            .take(MAX_POLICIES)
            .map(|(namespace, name, generation)| ((namespace, name), generation))
            .collect();
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = policies;
    }

    /// How many problems the last reconcile left.
    pub fn problems(&self, count: usize) {
        self.problems.set(count as i64);
    }

    /// What flows were evicted is found by counting what is left, while others come and go: a counter must not go back.
    fn never_less(&self, flows: &mut [FlowUsage]) {
        let mut most = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        for usage in flows {
            let most = most.entry(usage.table).or_default();
            *most = usage.evicted.max(*most);
            usage.evicted = *most;
        }
    }

    /// The kernel could not be read for a scrape.
    pub(crate) fn scrape_failed(&self) {
        self.scrape_errors.inc();
    }
}

//! Metrics: what the reconcile loop counts, and what the kernel holds at the moment of a scrape.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use xdp_client::metrics;
use xdp_core::tables::MAX_RULES;

use crate::report::status::FlowUsage;

mod encode;
mod kernel;
mod rules;
mod series;
#[cfg(test)]
mod tests;

pub use encode::registry;
pub use kernel::KernelMetrics;
pub use series::RuleLimits;

/// Upper bounds in seconds, for reconciles and for delays. A reconcile takes milliseconds, a tenth of a
/// second under load.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Each rule belongs to one policy: more policies than rules cannot be programmed.
const MAX_POLICIES: usize = MAX_RULES as usize;

/// Generation by namespace and name.
type Policies = BTreeMap<(String, String), i64>;

/// The label `result` with its value.
type Result = [(&'static str, &'static str); 1];

const SUCCESS: Result = [("result", metrics::result(true))];
const ERROR: Result = [("result", metrics::result(false))];

/// What the reconcile loop counts. Every method takes well under a microsecond or one short lock.
#[derive(Debug)]
pub struct AgentMetrics {
    reconciles: Family<Result, Counter>,
    reconcile_duration: Histogram,
    enforcement_delay: Histogram,
    status_writes: Family<Result, Counter>,
    api_objects_received: Family<[(&'static str, &'static str); 1], Counter>,
    scrape_errors: Counter,
    problems: Gauge,
    /// Pods with rules that redirect, by whether policies restrict that.
    restricted_pods: Gauge,
    /// Always replaced as a whole, so that deleted policies disappear.
    policies: Mutex<Arc<Policies>>,
    /// Highest number that was shown for each table.
    evicted: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for AgentMetrics {
    fn default() -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_duration: Histogram::new(BUCKETS),
            enforcement_delay: Histogram::new(BUCKETS),
            status_writes: Family::default(),
            api_objects_received: Family::default(),
            scrape_errors: Counter::default(),
            problems: Gauge::default(),
            restricted_pods: Gauge::default(),
            policies: Mutex::default(),
            evicted: Mutex::default(),
        };
        // `increase()` does not see the first event of a new series, so the series exist from the start.
        for result in [SUCCESS, ERROR] {
            drop(metrics.reconciles.get_or_create(&result));
        }
        for result in [SUCCESS, ERROR] {
            drop(metrics.status_writes.get_or_create(&result));
        }
        metrics
    }
}

impl AgentMetrics {
    /// Records a finished reconcile. `success`: everything that can be programmed is.
    pub fn reconciled(&self, success: bool, took: Duration) {
        let result = if success { SUCCESS } else { ERROR };
        self.reconciles.get_or_create(&result).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Records that a change of an object is programmed, `delay` after its event.
    pub fn enforced(&self, delay: Duration) {
        self.enforcement_delay.observe(delay.as_secs_f64());
    }

    /// Records a write of this node's status to the API server.
    pub fn status_written(&self, success: bool) {
        let result = if success { SUCCESS } else { ERROR };
        self.status_writes.get_or_create(&result).inc();
    }

    /// Records an object that the API server has sent, in a list or because it has changed.
    pub fn api_object_received(&self, kind: &'static str) {
        self.api_objects_received.get_or_create(&[("kind", kind)]).inc();
    }

    /// Replaces the list of policies that are programmed for pods of this node: namespace, name and
    /// generation.
    pub fn policies(&self, policies: Vec<(String, String, i64)>) {
        let policies = policies
            .into_iter()
            .take(MAX_POLICIES)
            .map(|(namespace, name, generation)| ((namespace, name), generation))
            .collect();
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
    }

    /// Records the number of problems after a reconcile.
    pub fn problems(&self, count: usize) {
        self.problems.set(count as i64);
    }

    /// Records the number of pods to which `NetworkPolicies` and the like restrict redirects. Returns whether
    /// it has changed.
    pub fn restricted_pods(&self, count: usize) -> bool {
        self.restricted_pods.set(count as i64) != count as i64
    }

    /// Makes evictions monotonic, as a counter must be: they are computed from what is present while flows
    /// come and go.
    fn make_monotonic(&self, flows: &mut [FlowUsage]) {
        let mut most = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        for usage in flows {
            let most = most.entry(usage.table).or_default();
            *most = usage.evicted.max(*most);
            usage.evicted = *most;
        }
    }

    /// Records a scrape for which the kernel could not be read.
    pub(crate) fn scrape_failed(&self) {
        self.scrape_errors.inc();
    }
}

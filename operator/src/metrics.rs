//! Metrics. Users cannot choose the value of any label.

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use xdp_client::metrics::{Format, RESULTS, encode, result};

use crate::reconcile::Snapshot;

/// Upper bounds in seconds. A write waits for the API server.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The kinds of writes.
pub const CONTROLLERS: [&str; 3] = ["peers", "status", "events"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Written {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policies {
    accepted: &'static str,
    programmed: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// All metrics of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Family<Controller, Histogram>,
    leader: Gauge,
    policies: Family<Policies, Gauge>,
    peer_sets: Gauge,
    peer_addresses: Gauge,
    status_writes: Family<Written, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("xdp_operator"),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            leader: Gauge::default(),
            policies: Family::default(),
            peer_sets: Gauge::default(),
            peer_addresses: Gauge::default(),
            status_writes: Family::default(),
        };
        metrics.register();
        metrics.prepare();
        metrics
    }
}

impl Metrics {
    /// Records a write.
    pub fn reconciled(&self, controller: &'static str, took: Duration, success: bool) {
        let result = result(success);
        self.reconciles
            .get_or_create(&Reconcile { controller, result })
            .inc();
        self.durations
            .get_or_create(&Controller { controller })
            .observe(took.as_secs_f64());
    }

    /// Records a write of a status.
    pub fn status_written(&self, success: bool) {
        let result = result(success);
        self.status_writes.get_or_create(&Written { result }).inc();
    }

    /// Sets whether this process leads. Without leadership, it has no counts of objects.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            self.set_snapshot(&Snapshot::default());
        }
    }

    /// Sets the counts of objects.
    pub fn set_snapshot(&self, snapshot: &Snapshot) {
        for accepted in [false, true] {
            for programmed in [false, true] {
                let count = snapshot.policies.get(&(accepted, programmed));
                self.policies
                    .get_or_create(&Policies {
                        accepted: label(accepted),
                        programmed: label(programmed),
                    })
                    .set(count.copied().unwrap_or_default());
            }
        }
        self.peer_sets.set(snapshot.peer_sets as i64);
        self.peer_addresses.set(snapshot.peer_addresses as i64);
    }

    /// Encodes all metrics. Fails only if `out` does.
    pub fn encode(&self, format: Format, out: &mut dyn fmt::Write) -> fmt::Result {
        encode(&self.registry, format, out)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "reconciles",
            "Writes to the API server, by controller and result",
            self.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Duration of a write to the API server",
            self.durations.clone(),
        );
        registry.register("leader", "Whether this process leads", self.leader.clone());
        registry.register(
            "policies",
            "Policies, by the status of their conditions; 0 if this process does not lead",
            self.policies.clone(),
        );
        registry.register(
            "peer_sets",
            "Distinct selections of pods in `from`, each with a set of addresses; 0 if this process does not lead",
            self.peer_sets.clone(),
        );
        registry.register(
            "peer_addresses",
            "Addresses in all XdpPeerSets; 0 if this process does not lead",
            self.peer_addresses.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of the statuses of policies, by result",
            self.status_writes.clone(),
        );
        let build = Family::<Build, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&Build { version }).set(1);
        registry.register(
            "build_info",
            "Always 1; the label has the version of the operator",
            build,
        );
    }

    /// Creates all series: `increase()` does not count the first event of a new series.
    fn prepare(&self) {
        for controller in CONTROLLERS {
            drop(self.durations.get_or_create(&Controller { controller }));
            for result in RESULTS {
                drop(self.reconciles.get_or_create(&Reconcile { controller, result }));
            }
        }
        for result in RESULTS {
            drop(self.status_writes.get_or_create(&Written { result }));
        }
        self.set_leader(false);
    }
}

const fn label(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

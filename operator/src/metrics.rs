//! What `/metrics` shows. No label has values that users choose.

#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use xdp_client::metrics::{Format, RESULTS, encode, result};

use crate::round::Tally;

/// Upper bounds in seconds: a round without writes takes milliseconds, one with writes waits for the API server.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The parts of a round.
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

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Family<Controller, Histogram>,
    leader: Gauge,
    policies: Family<Policies, Gauge>,
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
            peer_addresses: Gauge::default(),
            status_writes: Family::default(),
        };
        metrics.register();
        metrics.prepare();
        metrics
    }
}

impl Metrics {
    /// A part of a round is done.
    pub fn reconciled(&self, controller: &'static str, took: Duration, success: bool) {
        let result = result(success);
        self.reconciles
            .get_or_create(&Reconcile { controller, result })
            .inc();
        self.durations
            .get_or_create(&Controller { controller })
            .observe(took.as_secs_f64());
    }

    /// A status has been written, or not.
    pub fn status_written(&self, success: bool) {
        let result = result(success);
        self.status_writes.get_or_create(&Written { result }).inc();
    }

    /// Whether this process leads. One that does not knows nothing of how things are.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            self.tally(&Tally::default());
        }
    }

    /// How things are.
    pub fn tally(&self, tally: &Tally) {
        for accepted in [false, true] {
            for programmed in [false, true] {
                let count = tally.policies.get(&(accepted, programmed));
                self.policies
                    .get_or_create(&Policies {
                        accepted: word(accepted),
                        programmed: word(programmed),
                    })
                    .set(count.copied().unwrap_or_default());
            }
        }
        self.peer_addresses.set(tally.peer_addresses as i64);
    }

    /// Encodes all metrics.
    pub fn text(&self, format: Format) -> String {
        encode(&self.registry, format)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "reconciles",
            "Reconciles, by what was reconciled and how it went",
            self.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time that a reconcile took, with its writes",
            self.durations.clone(),
        );
        registry.register("leader", "Whether this process leads", self.leader.clone());
        registry.register(
            "policies",
            "Policies, by the status of their conditions; 0 where this process does not lead",
            self.policies.clone(),
        );
        registry.register(
            "peer_addresses",
            "Addresses in all XdpPeerSets; 0 where this process does not lead",
            self.peer_addresses.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of policies' statuses",
            self.status_writes.clone(),
        );
        let build = Family::<Build, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&Build { version }).set(1);
        registry.register("build_info", "Always 1; the label says what runs", build);
    }

    /// A counter that appears with its first event hides that event from `increase()`.
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
        self.leads(false);
    }
}

const fn word(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

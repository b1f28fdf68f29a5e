//! Describes the metrics of one scrape for Prometheus.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Registry,
};

use crate::report::metrics::{AgentMetrics, KernelMetrics, Policies};

/// Returns all metrics. `kernel` is absent if it could not be read.
pub fn registry(metrics: &AgentMetrics, kernel: Option<KernelMetrics>) -> Registry {
    let mut registry = Registry::with_prefix("xdp_agent");
    metrics.register(&mut registry);
    if let Some(mut kernel) = kernel {
        metrics.make_monotonic(&mut kernel.status.flows);
        registry.register_collector(Box::new(kernel));
    }
    registry
}

impl AgentMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "reconciles",
            "Reconciles of the agent, by result",
            self.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Duration of a reconcile",
            self.reconcile_duration.clone(),
        );
        registry.register(
            "enforcement_delay_seconds",
            "Time from the event of a changed object until the change is programmed",
            self.enforcement_delay.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of the node's XdpNodeState to the API server",
            self.status_writes.clone(),
        );
        registry.register(
            "api_objects_received",
            "Objects that the API server has sent, in lists and because they have changed",
            self.api_objects_received.clone(),
        );
        registry.register(
            "scrape_errors",
            "Scrapes without the metrics of the kernel, because it could not be read",
            self.scrape_errors.clone(),
        );
        registry.register(
            "problems",
            "Problems after the last reconcile, as `xdp-agent status` lists them",
            self.problems.clone(),
        );
        registry.register(
            "restricted_pods",
            "Pods with rules that redirect, to which NetworkPolicies and the like restrict that",
            self.restricted_pods.clone(),
        );
        let policies = Arc::clone(&self.policies.lock().unwrap_or_else(PoisonError::into_inner));
        registry.register_collector(Box::new(ProcessCollector { policies }));
    }
}

/// Metrics with changing labels, and constant ones.
#[derive(Debug)]
struct ProcessCollector {
    policies: Arc<Policies>,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "policy_generation",
            "Generation of a policy that is programmed for pods of this node.",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), generation) in &*self.policies {
            let labels = [("namespace", namespace.as_str()), ("policy", name)];
            family.encode_family(&labels)?.encode_gauge(generation)?;
        }
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor(
                "build_info",
                "Always 1; the labels describe the running agent.",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&labels)?
            .encode_gauge(&1i64)
    }
}

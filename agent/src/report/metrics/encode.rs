//! Encodes metrics as text for Prometheus.

use std::{fmt, sync::PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::report::{
    metrics::{AgentMetrics, kernel::KernelCollector},
    status::NodeStatus,
};

/// The format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Classic,
}

impl Format {
    /// Selects the format for a client with this `Accept` header.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Encodes all metrics. Without a status, the metrics of the kernel are left out.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: writing to a string does not fail"
)]
pub fn encode(metrics: &AgentMetrics, status: Option<NodeStatus>, format: Format) -> String {
    let mut registry = Registry::with_prefix("xdp_agent");
    metrics.register(&mut registry);
    if let Some(mut status) = status {
        metrics.make_monotonic(&mut status.flows);
        registry.register_collector(Box::new(KernelCollector(status)));
    }
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to a string does not fail");
    match format {
        Format::OpenMetrics => text,
        Format::Classic => classic(&text),
    }
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
            "scrape_errors",
            "Scrapes without the metrics of the kernel, because it could not be read",
            self.scrape_errors.clone(),
        );
        registry.register(
            "problems",
            "Problems after the last reconcile, as `xdp-agent status` lists them",
            self.problems.clone(),
        );
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let policies = policies
            .iter()
            .map(|((namespace, name), generation)| {
                let labels = [("namespace", namespace.clone()), ("policy", name.clone())];
                (labels, *generation)
            })
            .collect();
        registry.register_collector(Box::new(ProcessCollector { policies }));
    }
}

/// Metrics with changing labels, and constant ones.
#[derive(Debug)]
struct ProcessCollector {
    policies: Vec<([(&'static str, String); 2], i64)>,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "policy_generation",
            "Generation of a policy that is programmed for pods of this node.",
            None,
            MetricType::Gauge,
        )?;
        for (labels, generation) in &self.policies {
            family.encode_family(labels)?.encode_gauge(generation)?;
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

/// Converts to the classic format. `OpenMetrics` names a counter without `_total`, the classic format names
/// the series.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    let mut help: Option<&str> = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "unknown"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take().and_then(|help| help.split_once(' ')) {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if line != "# EOF" {
            text.extend([line, "\n"]);
        }
    }
    text
}

//! From counters and a status to the text that Prometheus reads.

use std::{fmt, sync::PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::report::{
    metrics::{Metrics, kernel::KernelCollector},
    status::NodeStatus,
};

/// How a scrape is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4, which every tool reads.
    Classic,
}

impl Format {
    /// What a client with this `Accept` header gets.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics as text. Without a status, what comes from the kernel is left out.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: writing to a string does not fail"
)]
pub fn encode(metrics: &Metrics, status: Option<NodeStatus>, format: Format) -> String {
    let mut registry = Registry::with_prefix("xdp_agent");
    metrics.register(&mut registry);
    if let Some(mut status) = status {
        metrics.never_less(&mut status.flows);
        registry.register_collector(Box::new(KernelCollector(status)));
    }
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    match format {
        Format::OpenMetrics => text,
        Format::Classic => classic(&text),
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "rounds",
            "Reconciles of the agent, by result",
            self.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time that a round of the agent's loop took",
            self.reconcile_duration.clone(),
        );
        registry.register(
            "enforcement_delay_seconds",
            "Time from the event that brought a change of an object to the change being in force",
            self.enforcement_delay.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of the node's XdpNodeState to the API server",
            self.status_writes.clone(),
        );
        registry.register(
            "scrape_errors",
            "Scrapes that lack what comes from the kernel, because it could not be read",
            self.scrape_errors.clone(),
        );
        registry.register(
            "problems",
            "Problems that the last round left, as `xdp-agent status` lists them",
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

/// What has changing labels, or is constant.
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
                "Always 1; the labels say what runs.",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&labels)?
            .encode_gauge(&1i64)
    }
}

/// `OpenMetrics` names a counter without its `_total`, the classic format names the series.
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

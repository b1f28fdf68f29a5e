//! Metrics that are read from the kernel.
//!
//! Values are summed by their labels first: two slots can have the name of one pod for a moment, and a series
//! must be unique.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
};
use xdp_core::events::{Event, Fallback, FlowEvent, ForeignFrame, Unparsed, UnparsedDrop};
use xdp_crds::NicMode;
use xdp_plan::facts::Readiness;

use super::{rules::RuleSeries, series::RuleLimits};
use crate::{
    datapath::{FlowTable, Pinned},
    report::status::{
        FlowUsage, NicStatus, NodeStatus, StatusError, TargetPodStatus, {self},
    },
};

/// The metrics of one scrape.
#[derive(Debug)]
pub struct KernelMetrics {
    /// What the kernel holds, without rules.
    pub(super) status: NodeStatus,
    pub(super) rules: RuleSeries,
}

impl KernelMetrics {
    /// Reads the kernel.
    pub fn read(pin_dir: &Path, limits: RuleLimits) -> Result<Self, StatusError> {
        let pinned = Pinned::open(pin_dir)?;
        let status = status::without_rules(&pinned)?;
        let rules = RuleSeries::read(Box::new(pinned), limits)?;
        Ok(Self { status, rules })
    }
}

/// Names and values of a series' labels.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

impl Collector for KernelMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.rules.encode(&mut encoder)?;
        self.events(&mut encoder)?;
        self.tables(&mut encoder)?;
        self.flows(&mut encoder)?;
        self.pods(&mut encoder)?;
        self.nics(&mut encoder)
    }
}

impl KernelMetrics {
    /// Encodes all reasons from the start: `increase()` does not see the first event of a new series.
    fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = |counted: &BTreeMap<&'static str, u64>, reason| {
            let packets = counted.get(reason).copied().unwrap_or(0);
            ([("reason", reason)], packets)
        };
        let fallbacks = Fallback::ALL.map(|reason| series(&self.status.fallbacks, reason.name()));
        let help = "Packets that a Redirect rule passed to the stack, by reason.";
        counters(encoder, "fallback_packets", help, fallbacks)?;
        let unparsed = Unparsed::ALL.map(|reason| series(&self.status.unparsed, reason.name()));
        let help = "Packets passed to the stack without rule evaluation, by reason.";
        counters(encoder, "unparsed_packets", help, unparsed)?;
        let foreign = ForeignFrame::ALL.map(|reason| series(&self.status.foreign, reason.name()));
        let help = "Packets to pods in frames that the node's stack does not take from the NIC, by reason.";
        counters(encoder, "foreign_packets", help, foreign)?;
        let dropped = UnparsedDrop::ALL.map(|reason| series(&self.status.unparsed_drops, reason.name()));
        let help =
            "Packets dropped because they cannot be parsed and a rule that drops could match, by reason.";
        counters(encoder, "unparsed_dropped_packets", help, dropped)?;
        let events = Event::ALL.map(|event| series(&self.status.events, event.name()));
        let help = "Rejected packets without an answer, and sources without a limit of their own, by reason.";
        counters(encoder, "events", help, events)
    }

    fn tables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tables = &self.status.tables;
        let used = tables
            .iter()
            .map(|usage| ([("table", usage.table)], usage.used as i64));
        gauges(encoder, "table_used", "Elements in use, by table.", used)?;
        let help = "Elements that policies can use, by table.";
        let capacity = tables
            .iter()
            .map(|usage| ([("table", usage.table)], usage.capacity as i64));
        gauges(encoder, "table_capacity", help, capacity)
    }

    fn flows(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tables = &self.status.flows;
        let gauge = |value: fn(&FlowUsage) -> u64| {
            tables
                .iter()
                .map(move |usage| ([("table", usage.table)], value(usage) as i64))
        };
        let help = "Tracked flows, by table.";
        gauges(encoder, "flows", help, gauge(|usage| usage.used))?;
        let help = "Capacity of each flow table.";
        gauges(encoder, "flow_capacity", help, gauge(|usage| usage.capacity))?;
        let evicted = tables
            .iter()
            .filter(|usage| usage.table != FlowTable::Unreplied.name());
        let evicted = evicted.map(|usage| ([("table", usage.table)], usage.evicted));
        let help = "Flows evicted from a full table, or deleted because their pod has no share left; those of unreplied are counted with those of established.";
        counters(encoder, "flow_evictions", help, evicted)?;
        let events = FlowEvent::ALL.map(|event| {
            let packets = self.status.flow_events.get(event.name()).copied().unwrap_or(0);
            ([("event", event.name())], packets)
        });
        let help = "Events of flows and their packets.";
        counters(encoder, "flow_events", help, events)
    }

    fn pods(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut failures: BTreeMap<Labels<'_, 4>, u64> = BTreeMap::new();
        for pod in &self.status.pods {
            for failure in &pod.failures {
                let labels = [
                    ("namespace", pod.namespace.as_str()),
                    ("pod", &pod.pod),
                    ("stage", failure.stage),
                    ("errno", errno_label(&failure.errno)),
                ];
                *failures.entry(labels).or_default() += failure.packets;
            }
        }
        let help = "Redirected packets that did not arrive, by pod, stage and errno.";
        counters(encoder, "redirect_failures", help, failures)?;
        let ready = self.status.pods.iter().filter(|pod| is_ready(pod)).count();
        let draining = self.status.pods.iter().filter(|pod| pod.draining).count();
        let not_ready = self.status.pods.len() - ready - draining;
        let states = [("ready", ready), ("not_ready", not_ready), ("draining", draining)];
        let series = states.map(|(state, pods)| ([("state", state)], pods as i64));
        gauges(
            encoder,
            "pods",
            "Target pods, by whether they can take redirected packets.",
            series,
        )
    }

    fn nics(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let infos: BTreeSet<Labels<'_, 4>> = self.status.nics.iter().map(nic_info).collect();
        let help =
            "Always 1; the labels describe the NIC, and its XDP mode: native, generic, none or foreign.";
        gauges(encoder, "nic_info", help, infos.into_iter().map(|info| (info, 1)))?;
        let help =
            "Always 1; the labels name the NIC, and the reason why it does not run the program natively.";
        let problems = self.nic_problems().into_iter().map(|problem| (problem, 1));
        gauges(encoder, "nic_problem", help, problems)?;
        let mut exceptions: BTreeMap<[(&str, String); 2], u64> = BTreeMap::new();
        for exception in &self.status.exceptions {
            let action = exception.action.to_lowercase();
            let labels = [("nic", exception.nic.clone()), ("action", action)];
            *exceptions.entry(labels).or_default() += exception.packets;
        }
        let help = "Packets that the kernel discarded after the program had returned, by XDP action.";
        let mut family = encoder.encode_descriptor("exceptions", help, None, MetricType::Counter)?;
        for (labels, packets) in &exceptions {
            counter(family.encode_family(labels)?, *packets)?;
        }
        Ok(())
    }

    /// Collects the problems of present and absent NICs.
    fn nic_problems(&self) -> BTreeSet<Labels<'_, 2>> {
        let present = self.status.nics.iter().flat_map(|nic| {
            let reasons = nic.problems.iter();
            reasons.map(|problem| [("nic", nic.name.as_str()), ("reason", problem.reason.as_str())])
        });
        let gone = self.status.problems.iter().filter_map(|problem| {
            let nic = problem.object.strip_prefix("NIC ")?;
            Some([("nic", nic), ("reason", problem.reason.as_str())])
        });
        present.chain(gone).collect()
    }
}

fn nic_info(nic: &NicStatus) -> Labels<'_, 4> {
    [
        ("nic", &nic.name),
        ("driver", &nic.driver),
        ("bus", &nic.bus),
        ("mode", mode_name(nic.mode)),
    ]
}

fn is_ready(pod: &TargetPodStatus) -> bool {
    let is_ready = [&pod.readiness, &pod.reply_path].map(|readiness| *readiness == Readiness::Ready);
    pod.programmed && !pod.draining && is_ready == [true, true]
}

fn mode_name(mode: NicMode) -> &'static str {
    match mode {
        NicMode::Native => "native",
        NicMode::Generic => "generic",
        NicMode::None => "none",
        NicMode::Foreign => "foreign",
    }
}

/// Replaces an empty label value: Prometheus treats it as an absent label.
fn errno_label(errno: &str) -> &str {
    if errno.is_empty() { "none" } else { errno }
}

fn counters<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        counter(family.encode_family(&labels)?, value)?;
    }
    Ok(())
}

pub(super) fn counter(mut series: MetricEncoder<'_>, value: u64) -> fmt::Result {
    series.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
}

pub(super) fn gauges<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a, N>, i64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

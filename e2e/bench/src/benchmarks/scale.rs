//! The control plane at 5,000 nodes: the real operator with a real API server, and objects as kubelets and
//! agents of as many nodes write them. `OPERATOR=…` measures another operator.

mod changes;
mod contention;
mod fan_out;
mod phase;

use std::path::Path;

use anyhow::Result;
use xdp_e2e::simulated::{CrowdSize, OperatorProcess, PunctualityMonitor, SimulatedCluster, operator_binary};

use self::phase::{Phase, first_set};
use crate::{
    report::{Section, number},
    suite::Suite,
};

/// Sizes: nodes, policies. There are ten pods on each node. A quick run measures the first.
const SIZES: [CrowdSize; 3] = [
    CrowdSize {
        nodes: 100,
        policies: 10,
    },
    CrowdSize {
        nodes: 1000,
        policies: 100,
    },
    CrowdSize {
        nodes: 5000,
        policies: 1000,
    },
];
/// Rows of the table in their order.
const ROWS: [&str; 16] = [
    "start to the first address set, s",
    "CPU until all is written, s",
    "all sets and statuses written, s",
    "address sets written (slices)",
    "resident after the start, MB",
    "a pod's label that no selector has: CPU, ms",
    "a pod's address: CPU, ms",
    "a pod's address: writes of address sets (distinct sets with the pod)",
    "a pod's address: sent to the operator and back, kB",
    "a pod's address: until the last set has it, ms",
    "a rule's port: CPU, ms; status writes",
    "a node's report, only the agent's version: CPU, ms; writes",
    "rollout of a policy on all nodes: status writes",
    "rollout: CPU, s; time, s",
    "longest time between renewals of the lease, s",
    "slowest answer to a probe, ms",
];

/// What one size showed: a cell for each row, and values for targets.
#[derive(Default)]
struct Column {
    cells: Vec<String>,
    facts: Vec<(&'static str, f64)>,
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let binary = operator_binary()?;
    let sizes = &SIZES[..if suite.options.quick { 1 } else { SIZES.len() }];
    let (mut section, mut columns) = (Section::new("", ""), Vec::new());
    let mut fan_out = fan_out::Rows::default();
    for size in sizes {
        eprintln!(
            "  {} nodes, {} pods, {} policies …",
            size.nodes,
            size.pods(),
            size.policies
        );
        let simulated = SimulatedCluster::start(&binary)?;
        simulated.populate(*size)?;
        let (operator, column) = measure(&simulated, &binary, *size)?;
        columns.push(column);
        // The operator's table does not depend on it.
        if let Err(error) = fan_out.measure(&simulated, *size) {
            section.note(format!(
                "{} nodes: what agents receive is not measured: {error:#}",
                size.nodes
            ));
        }
        drop(operator);
        if *size == sizes[sizes.len() - 1] {
            contention::measure(&mut section, &simulated, &binary, *size)?;
        }
    }
    // The targets are those of the largest size.
    let largest = columns.get(SIZES.len() - 1);
    for (fact, value) in largest.into_iter().flat_map(|column| &column.facts) {
        section.fact(*fact, *value);
    }
    table(&mut section, sizes, &columns);
    fan_out.table(&mut section);
    notes(&mut section);
    Ok(section)
}

/// Starts the operator, and measures one change of each kind.
fn measure(
    simulated: &SimulatedCluster,
    binary: &Path,
    size: CrowdSize,
) -> Result<(OperatorProcess, Column)> {
    let mut column = Column::default();
    let begin = std::time::Instant::now();
    let operator = OperatorProcess::start(simulated, binary, &[])?;
    let first = first_set(simulated, &operator, begin)?;
    let monitor = PunctualityMonitor::start(simulated);
    let start = Phase::start(simulated, &operator)?.until_idle()?;
    column.fact("scale.start", first);
    column.cells = vec![
        number(first),
        number(operator.cpu()?.as_secs_f64()),
        number(first + start.seconds),
        simulated.slices()?.to_string(),
    ];
    let resident = operator.megabytes("VmRSS")?;
    column.cell(number(resident));
    column.fact("scale.rss", resident);
    changes::measure(&mut column, simulated, &operator, size)?;
    let seen = monitor.stop()?;
    column.cell(number(seen.lease.as_secs_f64()));
    column.cell(format!(
        "{}{}",
        number(1e3 * seen.probe.as_secs_f64()),
        if seen.failed_probes == 0 {
            String::new()
        } else {
            format!(" ({} failed)", seen.failed_probes)
        }
    ));
    column.fact("scale.lease", seen.lease.as_secs_f64());
    column.fact("scale.probe", seen.probe.as_secs_f64());
    Ok((operator, column))
}

impl Column {
    fn cell(&mut self, text: impl Into<String>) {
        self.cells.push(text.into());
    }

    fn fact(&mut self, name: &'static str, value: f64) {
        self.facts.push((name, value));
    }
}

fn table(section: &mut Section, sizes: &[CrowdSize], columns: &[Column]) {
    let heads: Vec<String> = sizes
        .iter()
        .map(|size| format!("{} / {} / {}", size.nodes, size.pods(), size.policies))
        .collect();
    let heads: Vec<&str> = [""].into_iter().chain(heads.iter().map(String::as_str)).collect();
    let rows = ROWS.iter().enumerate().map(|(row, name)| {
        let cells = columns
            .iter()
            .map(|column| column.cells.get(row).cloned().unwrap_or_default());
        [(*name).to_owned()].into_iter().chain(cells).collect()
    });
    section.table("the operator at nodes / pods / policies", &heads, rows.collect());
}

fn notes(section: &mut Section) {
    section.note("etcd, the API server and the operator are the real programs and share this machine's CPUs; priority and fairness is off, and there is no kubelet, controller or agent. CPU times count; times of the clock are upper bounds. Pods have 4 labels and 12 variables, and are in 101 namespaces; 5 % of the policies mean all pods of the cluster, 45 % one in a hundred, the others a network; one more policy selects a pod on each node.");
    section.note("A change is measured until the operator uses no more CPU than while it is idle, and its idle use in that time is subtracted; the values are means of several changes.");
}

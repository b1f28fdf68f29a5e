//! Changes of each kind, one after the other.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;
use xdp_e2e::simulated::{ApiRequest, CrowdPod, CrowdSize, OperatorProcess, SimulatedCluster};

use super::{
    Column,
    phase::{Phase, Used, idle},
};
use crate::report::number;

/// Changes of each kind.
const TURNS: usize = 5;
/// How long to wait until the sets are written.
const PATIENCE: Duration = Duration::from_secs(30);

struct Operator<'a> {
    simulated: &'a SimulatedCluster,
    process: &'a OperatorProcess,
    size: CrowdSize,
    /// CPU time of an idle operator, in ms for each second.
    idle: f64,
}

pub(super) fn measure(
    column: &mut Column,
    simulated: &SimulatedCluster,
    process: &OperatorProcess,
    size: CrowdSize,
) -> Result<()> {
    let operator = Operator {
        simulated,
        process,
        size,
        idle: idle(process)?,
    };
    let label = operator.each(|turn| {
        let change = json!({"metadata": {"labels": {"turn": format!("v{turn}")}}});
        simulated
            .send(&ApiRequest::patch(operator.pod(turn).path(), &change))
            .map(drop)
    })?;
    column.cell(number(label.cpu));
    operator.addresses(column)?;
    let port = operator.each(|turn| simulated.change_port(size, 1, 8000 + turn as u16).map(drop))?;
    column.cell(format!(
        "{}; {}",
        number(port.cpu),
        number(port.cost.writes("xdppolicies") - 1.0)
    ));
    let report = operator.each(|turn| {
        let path = format!("/apis/xdp-operator.io/v1alpha1/xdpnodestates/n{turn}/status");
        let change = json!({"status": {"agentVersion": format!("0.2.{turn}")}});
        simulated.send(&ApiRequest::patch(path, &change)).map(drop)
    })?;
    let writes = report.cost.writes("xdppolicies") + report.cost.writes("xdppeersets");
    column.cell(format!("{}; {}", number(report.cpu), number(writes)));
    column.fact("scale.report.cpu", report.cpu);
    column.fact("scale.report.writes", writes);
    operator.rollout(column)
}

impl Operator<'_> {
    /// Pods that are in a set of their group, and in that of all.
    fn pod(&self, turn: usize) -> CrowdPod {
        let both = |number: &usize| self.size.pod(*number).selections(self.size) > 1;
        let mut pods = (self.size.nodes..self.size.pods()).filter(both);
        let number = pods.nth(7 * turn).unwrap_or(self.size.nodes);
        self.size.pod(number)
    }

    /// Returns the means of several changes.
    fn each(&self, mut change: impl FnMut(usize) -> Result<()>) -> Result<Used> {
        let phase = Phase::start(self.simulated, self.process)?;
        for turn in 0..TURNS {
            change(turn)?;
            // Longer than the operator waits for more changes.
            thread::sleep(Duration::from_millis(700));
        }
        let mut used = phase.until_idle()?;
        used.cpu = (used.cpu - self.idle * used.watched).max(0.0) / TURNS as f64;
        used.cost = used.cost.divided(TURNS as f64);
        Ok(used)
    }

    /// A set's slices are read by name after each change, which costs the operator nothing.
    fn addresses(&self, column: &mut Column) -> Result<()> {
        let (mut latest, mut distinct) = (Duration::ZERO, 0);
        let moved = self.each(|turn| {
            let pod = self.pod(turn);
            let address = Ipv4Addr::new(10, 250, 0, turn as u8);
            let status = CrowdPod::status(address);
            let before = self.simulated.cost()?.writes("xdppeersets");
            distinct = pod.selections(self.size);
            let changed = Instant::now();
            self.simulated
                .send(&ApiRequest::patch(pod.path() + "/status", &status))?;
            while self.simulated.cost()?.writes("xdppeersets") < before + distinct as f64
                && changed.elapsed() < PATIENCE
            {
                thread::sleep(Duration::from_millis(20));
            }
            latest = latest.max(changed.elapsed());
            Ok(())
        })?;
        let writes = moved.cost.writes("xdppeersets");
        column.cell(number(moved.cpu));
        column.cell(format!("{} ({distinct})", number(writes)));
        column.cell(number(moved.cost.bytes / 1e3));
        column.cell(number(1e3 * latest.as_secs_f64()));
        column.fact("scale.pod.cpu", moved.cpu);
        column.fact("scale.pod.writes", writes / distinct as f64);
        Ok(())
    }

    /// The policy that selects a pod on each node changes, and all agents report that it is programmed.
    fn rollout(&self, column: &mut Column) -> Result<()> {
        let (size, simulated) = (self.size, self.simulated);
        let phase = Phase::start(simulated, self.process)?;
        simulated.change_port(size, size.policies, 9000)?;
        simulated.report(size, "0.3.0")?;
        let used = phase.until_idle()?;
        column.cell(number(used.cost.writes("xdppolicies") - 1.0));
        column.cell(format!("{}; {}", number(used.cpu / 1e3), number(used.seconds)));
        Ok(())
    }
}

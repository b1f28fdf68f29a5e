//! What the operator uses and writes from a moment until it is idle again.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use xdp_e2e::simulated::{ApiCost, OperatorProcess, SimulatedCluster};

/// The operator is idle if it uses less than [`IDLE`] of CPU in two windows one after the other.
const WINDOW: Duration = Duration::from_millis(1200);
const IDLE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(4);
/// An operator that is never idle, because it loses its lease again and again, is measured for this long.
const LONGEST: Duration = Duration::from_secs(75);
const SETS: &str = "/apis/xdp-operator.io/v1alpha1/xdppeersets?limit=1";

/// A measurement that runs.
pub(super) struct Phase<'a> {
    simulated: &'a SimulatedCluster,
    operator: &'a OperatorProcess,
    begin: Instant,
    cpu: Duration,
    cost: ApiCost,
}

/// The result.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    /// CPU time in ms, including that of an idle operator.
    pub(super) cpu: f64,
    /// Until the last activity.
    pub(super) seconds: f64,
    /// All the time in which CPU time was counted.
    pub(super) watched: f64,
    pub(super) cost: ApiCost,
}

impl<'a> Phase<'a> {
    pub(super) fn start(simulated: &'a SimulatedCluster, operator: &'a OperatorProcess) -> Result<Self> {
        Ok(Self {
            simulated,
            operator,
            cost: simulated.cost()?,
            cpu: operator.cpu()?,
            begin: Instant::now(),
        })
    }

    pub(super) fn until_idle(self) -> Result<Used> {
        let (mut quiet, mut last, mut active) = (0, self.cpu, self.begin);
        while quiet < 2 && self.begin.elapsed() < LONGEST {
            thread::sleep(WINDOW);
            let now = self.operator.cpu()?;
            if now.saturating_sub(last) < IDLE {
                quiet += 1;
            } else {
                (quiet, active) = (0, Instant::now());
            }
            last = now;
        }
        Ok(Used {
            cpu: 1e3 * last.saturating_sub(self.cpu).as_secs_f64(),
            seconds: (active - self.begin).as_secs_f64(),
            watched: self.begin.elapsed().as_secs_f64(),
            cost: self.simulated.cost()?.since(&self.cost),
        })
    }
}

/// Waits for the first address set, and returns the seconds since `begin`.
pub(super) fn first_set(
    simulated: &SimulatedCluster,
    operator: &OperatorProcess,
    begin: Instant,
) -> Result<f64> {
    loop {
        operator.cpu()?;
        let items = simulated.list(SETS)?;
        if !items.is_empty() {
            return Ok(begin.elapsed().as_secs_f64());
        }
        ensure!(begin.elapsed() < PATIENCE, "the operator writes no address set");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the CPU time of an idle operator, in ms for each second.
pub(super) fn idle(operator: &OperatorProcess) -> Result<f64> {
    const TIME: Duration = Duration::from_secs(6);
    let before = operator.cpu()?;
    thread::sleep(TIME);
    Ok(1e3 * operator.cpu()?.saturating_sub(before).as_secs_f64() / TIME.as_secs_f64())
}

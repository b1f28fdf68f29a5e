//! The operator among processes that use all CPUs.

use std::{
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use xdp_e2e::simulated::{
    ApiRequest, CrowdPod, CrowdSize, OperatorProcess, PunctualityMonitor, SimulatedCluster, Spinners,
};

use super::SIZES;
use crate::report::{Section, number};

const SPINNERS: usize = 2;
/// Pods whose address changes.
const PODS: usize = 10;
/// How long to wait until all sets are written.
const PATIENCE: Duration = Duration::from_mins(1);

/// Changes addresses, and counts the sets that the operator writes.
pub(super) fn measure(
    section: &mut Section,
    simulated: &SimulatedCluster,
    binary: &Path,
    size: CrowdSize,
) -> Result<()> {
    let operator = OperatorProcess::start(simulated, binary, &[])?;
    super::phase::Phase::start(simulated, &operator)?.until_idle()?;
    let spinners = Spinners::start(simulated, SPINNERS)?;
    let (monitor, before) = (PunctualityMonitor::start(simulated), simulated.cost()?);
    let (mut wanted, begin) = (0, Instant::now());
    for turn in 0..PODS {
        let pod = size.pod(size.nodes + 31 * turn);
        let status = CrowdPod::status(Ipv4Addr::new(10, 251, 0, turn as u8));
        simulated.send(&ApiRequest::patch(pod.path() + "/status", &status))?;
        wanted += pod.selections(size);
        thread::sleep(Duration::from_secs(1));
    }
    let mut written = 0.0;
    while begin.elapsed() < PATIENCE && written < wanted as f64 {
        thread::sleep(Duration::from_millis(200));
        written = simulated.cost()?.since(&before).writes("xdppeersets");
    }
    let took = begin.elapsed();
    let seen = monitor.stop()?;
    drop(spinners);
    if size == SIZES[SIZES.len() - 1] {
        section.fact("scale.contended.lease", seen.lease.as_secs_f64());
        section.fact("scale.contended.probe", seen.probe.as_secs_f64());
        section.fact("scale.contended.written", written / wanted as f64);
    }
    section.table(
        &format!("{PODS} pods change their addresses, one a second, while {SPINNERS} processes use all CPUs"),
        &[
            "nodes / pods / policies",
            "writes of address sets (at least one for each distinct set with the pod)",
            "after, s",
            "longest time between renewals of the lease, s",
            "slowest answer to a probe, s",
            "probes that failed",
        ],
        vec![vec![
            format!("{} / {} / {}", size.nodes, size.pods(), size.policies),
            format!("{} ({wanted})", number(written)),
            number(took.as_secs_f64()),
            number(seen.lease.as_secs_f64()),
            number(seen.probe.as_secs_f64()),
            seen.failed_probes.to_string(),
        ]],
    );
    Ok(())
}

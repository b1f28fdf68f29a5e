//! The operator among processes that use all CPUs.

use std::{env, thread, time::Duration};

use anyhow::ensure;
use xdp_e2e::simulated::{
    ApiRequest, CrowdPod, CrowdSize, OperatorProcess, PunctualityMonitor, SimulatedCluster, Spinners,
    operator_binary,
};

use crate::fixture::{alone, until};

/// The leader stops if it has not renewed its lease for this long.
const RENEW: Duration = Duration::from_secs(10);
/// The limit of a probe in the chart.
const PROBE: Duration = Duration::from_secs(5);

/// 500 nodes with 5,000 pods and 100 policies; `NODES=5000 make test-scale` has 50,000 and 1,000.
fn size() -> CrowdSize {
    let nodes = env::var("NODES").ok().and_then(|nodes| nodes.parse().ok());
    let nodes = nodes.unwrap_or(500);
    CrowdSize {
        nodes,
        policies: nodes / 5,
    }
}

#[test]
fn an_operator_whose_cpus_are_taken_keeps_its_lease_and_writes_every_set() {
    let _turn = alone();
    let binary = operator_binary().unwrap();
    let simulated = SimulatedCluster::start(&binary).unwrap();
    let size = size();
    simulated.populate(size).unwrap();
    let _spinners = Spinners::start(&simulated, thread::available_parallelism().unwrap().get()).unwrap();
    let operator = OperatorProcess::start(&simulated, &binary, &[]).unwrap();
    let mut expected = size.expected_sets();
    until(&simulated, "a set is written", || {
        ensure!(simulated.slices()? > 0, "none");
        Ok(())
    });
    let monitor = PunctualityMonitor::start(&simulated);
    let written = |expected| {
        until(&simulated, "every set is written", || {
            let found = simulated.set_addresses()?;
            ensure!(found == expected, "{} of {} sets", found.len(), expected.len());
            Ok(())
        });
    };
    written(expected.clone());
    for number in 0..10 {
        let pod = size.pod(size.nodes + 37 * number);
        let address = [10, 255, 0, number as u8].into();
        let status = CrowdPod::status(address);
        let path = pod.path() + "/status";
        simulated.send(&ApiRequest::patch(path, &status)).unwrap();
        for set in expected.values_mut() {
            if set.remove(&pod.address.into()) {
                set.insert(address.into());
            }
        }
        written(expected.clone());
    }
    let seen = monitor.stop().unwrap();
    println!("{seen:?}, {:?} of CPU", operator.cpu().unwrap());
    assert!(seen.lease < RENEW, "{seen:?}");
    assert!(seen.failed_probes == 0 && seen.probe < PROBE, "{seen:?}");
}

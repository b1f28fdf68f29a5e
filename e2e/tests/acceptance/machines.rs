//! Two programs on two machines, as with a real card.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use xdp_e2e::acceptance::{AcceptanceReport, Outcome};
use xdp_lab::{Lab, Namespace, Process, wait_until};

const PATIENCE: Duration = Duration::from_mins(2);
const CHECKS: [&str; 3] = ["attached natively", "into a pod on a bridge", "are dropped"];

fn acceptance(at: &Namespace, arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acceptance"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    at.spawn(command).unwrap()
}

/// A veth pair is the wire, and another one the network between the programs.
#[test]
fn a_nic_is_accepted_with_a_peer_on_another_machine() {
    let lab = Lab::new().unwrap();
    let [machine, other] = ["machine", "other"].map(|name| lab.namespace(name).unwrap());
    machine.wire("eth7", &other, "wire7").unwrap();
    machine.wire("mgmt", &other, "mgmt").unwrap();
    machine
        .add_address("mgmt", "10.9.0.1".parse().unwrap(), 24)
        .unwrap();
    other
        .add_address("mgmt", "10.9.0.2".parse().unwrap(), 24)
        .unwrap();

    let peer = acceptance(
        &other,
        &["peer", "--interface", "wire7", "--listen", "10.9.0.2:9470"],
    );
    wait_until("the peer has its interface", PATIENCE, || {
        other.find_interface("wire7").is_ok_and(|found| found.is_none())
    })
    .unwrap();
    let report = lab.dir().join("report.json");
    let mut arguments = vec!["run", "--nic", "eth7", "--peer", "tcp:10.9.0.2:9470"];
    arguments.extend(["--report", report.to_str().unwrap()]);
    arguments.extend(CHECKS.iter().flat_map(|check| ["--only", check]));
    let ended = acceptance(&machine, &arguments).finish(PATIENCE).unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains("3 checks, 0 failed"), "{ended:?}");
    let report: AcceptanceReport = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert!(
        report.checks.iter().all(|check| check.outcome == Outcome::Passed),
        "{report}"
    );
    let ended = peer.finish(PATIENCE).unwrap();
    assert!(
        ended.status.success() && ended.stdout.contains("are dropped"),
        "{ended:?}"
    );
}

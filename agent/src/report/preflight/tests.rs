use xdp_plan::nics::{Driver, HostLink, NicFacts, NicSelector, Support, Tunnel, XdpMode, XdpState, reason};

use super::{
    MachineReport, PreflightReport,
    build::{
        NicDetails, PreflightSnapshot, {self},
    },
};
use crate::report::output;

fn mlx5() -> NicFacts {
    NicFacts {
        link: HostLink {
            ifindex: 2,
            name: "ens1f0".to_owned(),
            mtu: 1500,
            up: true,
            carrier: true,
            ..HostLink::default()
        },
        driver: Driver {
            name: "mlx5_core".to_owned(),
            bus: "0000:3b:00.0".to_owned(),
            firmware: "22.35.1012".to_owned(),
        },
        features: Some(0x2b),
        striding: Some(true),
        ..NicFacts::default()
    }
}

fn snapshot(nic: NicFacts) -> PreflightSnapshot {
    let mut veth = NicFacts::default();
    (veth.link.ifindex, veth.link.kind) = (9, "veth".to_owned());
    PreflightSnapshot {
        machine: MachineReport {
            kernel: "6.12.48+deb13-amd64".to_owned(),
            page_size: 4096,
            ..MachineReport::default()
        },
        nics: vec![nic, veth],
        details: [(2, NicDetails::default())].into(),
        ..PreflightSnapshot::default()
    }
}

fn report(nic: NicFacts) -> PreflightReport {
    build::report(&snapshot(nic), &NicSelector::default())
}

#[test]
fn without_a_selection_all_physical_nics_are_checked() {
    let report = report(mlx5());
    let names: Vec<&str> = report.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["ens1f0"]);
    assert!(report.passed);
    assert_eq!(report.nics[0].mtu_limit, Some(3498));
    assert_eq!(report.nics[0].rules.redirect, Support::Native);
}

#[test]
fn a_refusal_that_is_predicted_fails_with_reason_and_remedy() {
    let report = report(NicFacts { lro: true, ..mlx5() });
    assert!(!report.passed);
    assert_eq!(report.nics[0].problems[0].reason, reason::HW_GRO_OR_LRO);
    let text = report.table();
    assert!(text.contains("remedy: ethtool -K ens1f0 lro off"), "{text}");
    assert!(text.ends_with("failed: see the problems above"), "{text}");
}

#[test]
fn the_agents_own_program_is_no_problem_and_another_one_is() {
    let mut nic = mlx5();
    nic.link.xdp = XdpState {
        mode: XdpMode::Native,
        program_id: Some(7),
    };
    let mut own = snapshot(nic.clone());
    own.own.insert(2, 7);
    assert!(build::report(&own, &NicSelector::default()).passed);
    let foreign = report(nic);
    assert_eq!(foreign.nics[0].problems[0].reason, reason::FOREIGN_PROGRAM);
}

#[test]
fn that_cilium_and_tunnels_are_there_is_advice() {
    let mut node = snapshot(mlx5());
    node.cilium = true;
    let mut tunnel = NicFacts::default();
    (tunnel.link.ifindex, tunnel.link.up) = (10, true);
    tunnel.link.tunnel = Some(Tunnel { lower: Some(2) });
    node.nics.push(tunnel);
    let report = build::report(&node, &NicSelector::default());
    assert!(report.passed);
    let reasons: Vec<&str> = report.nics[0]
        .advice
        .iter()
        .map(|advice| advice.reason.as_str())
        .collect();
    assert_eq!(reasons, [reason::TUNNEL_NOT_DECIDED, reason::OTHER_XDP_USER]);
}

#[test]
fn a_selection_without_a_nic_does_not_pass() {
    let selector = NicSelector {
        globs: vec!["eth7".to_owned()],
        ..NicSelector::default()
    };
    let report = build::report(&snapshot(mlx5()), &selector);
    assert!(!report.passed && report.nics.is_empty());
    assert_eq!(report.problems[0].reason, reason::NO_SUCH_NIC);
    assert!(!build::report(&PreflightSnapshot::default(), &NicSelector::default()).passed);
}

#[test]
fn json_has_the_documented_names() {
    let json: serde_json::Value = serde_json::from_str(&output::json(&report(mlx5()))).unwrap();
    assert_eq!(json["machine"]["pageSize"], 4096);
    let nic = &json["nics"][0];
    assert_eq!(nic["offloads"]["stridingReceiveQueues"], true);
    assert_eq!(nic["rules"]["filter"], "Native");
    assert_eq!(nic["mtuLimit"], 3498);
    assert_eq!(nic["features"][0], "basic");
}

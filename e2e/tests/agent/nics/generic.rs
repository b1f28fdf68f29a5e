//! Generic mode: only where the administrator allows it, and reported as a problem.

use std::{net::TcpStream, process::Command};

use xdp_e2e::Agent;
use xdp_lab::Style;

use super::{nic_problem, xdp};
use crate::fixture::{Fixture, PATIENCE, at, expect_only, only_mark};

/// `XDP_ATTACHED_SKB`.
const GENERIC: u64 = 2;

/// Puts the NIC below a bridge with its address: a bridge has no native XDP.
fn bridge(fixture: &Fixture) {
    let nic = &fixture.nic;
    let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
    let commands = [
        format!("link add name brn address {mac} type bridge"),
        format!("addr flush dev {}", nic.name),
        format!("link set {} master brn", nic.name),
        "link set brn up".to_owned(),
        format!("addr add {}/24 dev brn", nic.v4),
        format!("addr add {}/64 dev brn nodad", nic.v6),
    ];
    for arguments in commands {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        let finished = fixture
            .lab
            .node()
            .spawn(command)
            .unwrap()
            .finish(PATIENCE)
            .unwrap();
        assert!(finished.status.success(), "ip {arguments}: {finished:?}");
    }
}

#[test]
fn a_nic_without_native_xdp_delivers_to_peers_and_refuses_where_the_administrator_allows_it() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    bridge(&fixture);
    let rules = [
        "{name: web, ports: [{protocol: TCP, port: 80}], action: Reject}",
        "{name: bulk, action: Redirect, mark: 42}",
    ];
    let spec = "podSelector: {matchLabels: {app: game}}\ndelivery: Peer";
    fixture.policy_with("bulk", spec, &rules);
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).nics(&["brn"]);
    agent.start().unwrap();
    nic_problem(&agent, "brn", "NoNativeXdp", &["bridge"]);
    agent.stop().unwrap();
    assert_eq!(xdp(&fixture, "brn"), None);

    let mut agent = Agent::new(&fixture.lab, &fixture.manifests)
        .nics(&["brn"])
        .arguments(&["--allow-generic"])
        .log_to("generic.log");
    agent.start().unwrap();
    agent.wait_for("it is attached, and delivers", |status| {
        status.nic_mode("brn") == Some("Generic")
            && status.programmed("server")
            && status.json()["nics"][0]["peer"] == true
    });
    nic_problem(&agent, "brn", "GenericMode", &["without metadata"]);
    assert_eq!(xdp(&fixture, "brn").map(|(mode, _)| mode), Some(GENERIC));
    for ip in pod.addresses() {
        only_mark(&fixture.deliver(&pod, at(ip, 7777), 100), 42, 100);
    }
    expect_only(&agent, "bulk", &[("redirected", 200), ("delivered", 200)]);
    for ip in pod.addresses() {
        let to = at(ip, 80);
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let refused = fixture.client.run(connect).unwrap().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{ip}");
    }
}

//! ICMP types and codes, and the messages that a catch-all rule does not match.

use std::net::IpAddr;

use xdp_lab::{LabPod, RawSocket, Style};

use crate::{
    fixture::{Fixture, PATIENCE, expect_only},
    frames::{SILENCE, icmp, on_wire, pings},
};

fn fixture(rules: &[&str]) -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", rules);
    (fixture, pod)
}

fn send(fixture: &Fixture, (from, to): (IpAddr, IpAddr), messages: &[(u8, u8)]) {
    let wire = RawSocket::sender(&fixture.client, &fixture.nic.wire).unwrap();
    for (kind, code) in messages {
        let frame = on_wire(&fixture.nic, &[], &icmp(from, to, *kind, *code));
        wire.send(&frame).unwrap();
    }
}

#[test]
fn pings_pass_where_all_other_types_are_dropped() {
    let (fixture, pod) = fixture(&[
        "{name: ping, ports: [{protocol: ICMP, type: 8}, {protocol: ICMPv6, type: 128}], action: Pass}",
        "{name: icmp, ports: [{protocol: ICMP}, {protocol: ICMPv6}], action: Drop}",
    ]);
    let agent = fixture.enforce(&["server"]);
    assert!(pings(&fixture, &pod, false, 1, PATIENCE));
    assert!(pings(&fixture, &pod, true, 2, PATIENCE));
    // Timestamp and information requests, errors, and unassigned types.
    send(
        &fixture,
        (fixture.nic.client_v4, pod.v4()),
        &[(13, 0), (15, 0), (3, 4), (11, 0), (255, 255)],
    );
    send(
        &fixture,
        (fixture.nic.client_v6, pod.v6()),
        &[(129, 0), (2, 0), (1, 4), (127, 0), (255, 255)],
    );
    expect_only(&agent, "ping", &[("passed", 2)]);
    expect_only(&agent, "icmp", &[("dropped", 10)]);
}

#[test]
fn a_code_matches_only_with_its_type() {
    let (fixture, pod) = fixture(&[
        "{name: code, ports: [{protocol: ICMP, type: 3, code: 13}, {protocol: ICMPv6, type: 1, code: 1}], action: Drop}",
        "{name: type, ports: [{protocol: ICMP, type: 3}, {protocol: ICMPv6, type: 1}], action: Drop}",
    ]);
    let agent = fixture.enforce(&["server"]);
    send(
        &fixture,
        (fixture.nic.client_v4, pod.v4()),
        &[(3, 12), (3, 13), (3, 14), (2, 13), (4, 13)],
    );
    send(
        &fixture,
        (fixture.nic.client_v6, pod.v6()),
        &[(1, 0), (1, 1), (1, 2), (0, 1), (2, 1)],
    );
    expect_only(&agent, "code", &[("dropped", 2)]);
    expect_only(&agent, "type", &[("dropped", 4)]);
}

/// Path MTU discovery, and neighbour discovery.
#[test]
fn a_catch_all_rule_does_not_match_path_mtu_and_neighbour_discovery() {
    let (fixture, pod) = fixture(&["{name: all, action: Drop}"]);
    let agent = fixture.enforce(&["server"]);
    send(&fixture, (fixture.nic.client_v4, pod.v4()), &[(3, 4), (3, 3)]);
    send(
        &fixture,
        (fixture.nic.client_v6, pod.v6()),
        &[(2, 0), (2, 7), (135, 0), (136, 0), (1, 4)],
    );
    assert!(!pings(&fixture, &pod, false, 1, SILENCE));
    assert!(!pings(&fixture, &pod, true, 2, SILENCE));
    expect_only(&agent, "all", &[("dropped", 4)]);
}

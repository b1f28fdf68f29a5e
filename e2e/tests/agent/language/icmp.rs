//! Types and codes of ICMP, and what no catch-all reaches.

use std::net::IpAddr;

use xdp_lab::{Pod, RawSocket, Style};

use crate::{
    frames::{SILENCE, icmp, on_wire, pings},
    world::{PATIENCE, World, expect_only},
};

fn world(rules: &[&str]) -> (World, Pod) {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    world.policy("players", rules);
    (world, pod)
}

fn send(world: &World, (from, to): (IpAddr, IpAddr), messages: &[(u8, u8)]) {
    let wire = RawSocket::sender(&world.client, &world.nic.wire).unwrap();
    for (kind, code) in messages {
        let frame = on_wire(&world.nic, &[], &icmp(from, to, *kind, *code));
        wire.send(&frame).unwrap();
    }
}

#[test]
fn pings_pass_where_all_other_types_are_dropped() {
    let (world, pod) = world(&[
        "{name: ping, ports: [{protocol: ICMP, type: 8}, {protocol: ICMPv6, type: 128}], action: Pass}",
        "{name: icmp, ports: [{protocol: ICMP}, {protocol: ICMPv6}], action: Drop}",
    ]);
    let agent = world.enforce(&["server"]);
    assert!(pings(&world, &pod, false, 1, PATIENCE));
    assert!(pings(&world, &pod, true, 2, PATIENCE));
    // Timestamp and information requests, errors, and what has no name.
    send(
        &world,
        (world.nic.client_v4, pod.v4()),
        &[(13, 0), (15, 0), (3, 4), (11, 0), (255, 255)],
    );
    send(
        &world,
        (world.nic.client_v6, pod.v6()),
        &[(129, 0), (2, 0), (1, 4), (127, 0), (255, 255)],
    );
    expect_only(&agent, "ping", &[("passed", 2)]);
    expect_only(&agent, "icmp", &[("dropped", 10)]);
}

#[test]
fn a_code_is_one_of_its_types_and_no_other() {
    let (world, pod) = world(&[
        "{name: code, ports: [{protocol: ICMP, type: 3, code: 13}, {protocol: ICMPv6, type: 1, code: 1}], action: Drop}",
        "{name: type, ports: [{protocol: ICMP, type: 3}, {protocol: ICMPv6, type: 1}], action: Drop}",
    ]);
    let agent = world.enforce(&["server"]);
    send(
        &world,
        (world.nic.client_v4, pod.v4()),
        &[(3, 12), (3, 13), (3, 14), (2, 13), (4, 13)],
    );
    send(
        &world,
        (world.nic.client_v6, pod.v6()),
        &[(1, 0), (1, 1), (1, 2), (0, 1), (2, 1)],
    );
    expect_only(&agent, "code", &[("dropped", 2)]);
    expect_only(&agent, "type", &[("dropped", 4)]);
}

/// Path MTU discovery, and neighbour discovery.
#[test]
fn a_rule_for_everything_leaves_alone_what_a_network_cannot_do_without() {
    let (world, pod) = world(&["{name: all, action: Drop}"]);
    let agent = world.enforce(&["server"]);
    send(&world, (world.nic.client_v4, pod.v4()), &[(3, 4), (3, 3)]);
    send(
        &world,
        (world.nic.client_v6, pod.v6()),
        &[(2, 0), (2, 7), (135, 0), (136, 0), (1, 4)],
    );
    assert!(!pings(&world, &pod, false, 1, SILENCE));
    assert!(!pings(&world, &pod, true, 2, SILENCE));
    expect_only(&agent, "all", &[("dropped", 4)]);
}

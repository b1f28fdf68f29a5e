//! ICMP errors about flows, to the pod and from it.

use xdp_core::testing::wire::{WirePacket, WireProtocol};

use super::{CONNECTIONS, DATAGRAMS, Node, POD, REDIRECT, shapes};
use crate::{
    judge::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    node::{desired, pod, policy},
};

/// Nothing is said about ICMP.
const PORTS: [&str; 3] = [
    "{name: tcp, ports: [{protocol: TCP, port: 80}], action: Redirect}",
    "{name: udp, ports: [{protocol: UDP, port: 80}], action: Redirect}",
    "{name: sctp, ports: [{protocol: SCTP, port: 80}], action: Redirect}",
];
const LINK_HEADER: usize = 14;

/// To the pod, about what it sent.
fn error_to_pod(wire: fn(WireProtocol) -> WirePacket, protocol: WireProtocol) -> WirePacket {
    let sent = wire(protocol).reply();
    wire(protocol).error_about(&sent.frame())
}

#[test]
fn an_error_about_a_tracked_flow_reaches_the_pod_past_the_stack_though_no_rule_says_so() {
    let mut node = Node::new(&PORTS);
    for wire in shapes() {
        node.forget();
        for connection in CONNECTIONS {
            let error = error_to_pod(wire, connection[2]);
            node.arrives(&error, false, &[]);
            node.establish(wire, connection);
            let (ran, noted) = node.xdp(&error.frame());
            assert_eq!((ran.action, noted), (XDP_REDIRECT, vec!["ErrorIn"]), "{error:?}");
            assert!(ran.metadata.is_empty());
            assert_eq!(ran.packet[12..], error.frame()[12..]);
            let other = wire(connection[2]).with_port(41_000);
            node.arrives(&other.error_about(&other.reply().frame()), false, &[]);
        }
    }
}

#[test]
fn an_error_of_another_kind_about_a_tracked_flow_does_so_too() {
    let kinds = [(false, [3, 4]), (false, [11, 0]), (true, [2, 0]), (true, [3, 0])];
    let mut node = Node::new(&PORTS);
    for (v6, kind) in kinds {
        node.forget();
        let wire = if v6 {
            |protocol| WirePacket::new(true, protocol)
        } else {
            |protocol| WirePacket::new(false, protocol)
        };
        node.establish(wire, CONNECTIONS[0]);
        let mut frame = error_to_pod(wire, CONNECTIONS[0][2]).frame();
        let at = LINK_HEADER + if v6 { 40 } else { 20 };
        frame[at..at + 2].copy_from_slice(&kind);
        let (ran, noted) = node.xdp(&frame);
        assert_eq!((ran.action, noted), (XDP_REDIRECT, vec!["ErrorIn"]), "{kind:?}");
    }
}

#[test]
fn an_error_about_a_flow_that_the_pod_has_not_answered_yet_reaches_it() {
    let mut node = Node::new(&PORTS);
    for wire in shapes() {
        node.forget();
        node.arrives(&wire(WireProtocol::Udp), true, &["Opened"]);
        node.arrives(&error_to_pod(wire, WireProtocol::Udp), true, &["ErrorIn"]);
        assert_eq!(node.entries(), [0, 1, 0]);
    }
}

#[test]
fn a_rule_that_drops_errors_drops_those_about_tracked_flows() {
    let rules = [
        "{name: no-errors, ports: [{protocol: ICMP}], action: Drop}",
        REDIRECT,
    ];
    let node = Node::new(&rules);
    let wire: fn(WireProtocol) -> WirePacket = |protocol| WirePacket::new(false, protocol);
    node.establish(wire, CONNECTIONS[0]);
    let (ran, noted) = node.xdp(&error_to_pod(wire, CONNECTIONS[0][2]).frame());
    assert_eq!((ran.action, noted), (XDP_DROP, vec![]));
}

#[test]
fn a_rule_that_redirects_errors_redirects_those_about_tracked_flows_only() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        for protocol in DATAGRAMS {
            node.arrives(&error_to_pod(wire, protocol), false, &["StackFlow"]);
            node.arrives(&wire(protocol), true, &["Opened"]);
            let (ran, noted) = node.xdp(&error_to_pod(wire, protocol).frame());
            assert_eq!((ran.action, noted), (XDP_REDIRECT, vec!["ErrorIn"]));
            assert!(!ran.metadata.is_empty());
        }
    }
}

#[test]
fn an_error_from_the_pod_about_a_tracked_flow_leaves_past_the_stack_and_establishes_nothing() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        for protocol in [
            WireProtocol::Udp,
            WireProtocol::Echo,
            CONNECTIONS[0][0],
            CONNECTIONS[1][0],
        ] {
            let refused = wire(protocol);
            let error = refused.reply().error_about(&refused.frame());
            node.pod_sends(&error, false, &["ReplyMiss"]);
            node.arrives(&refused, true, &["Opened"]);
            node.pod_sends(&error, true, &["ReplyIcmpError"]);
        }
        assert_eq!(node.entries(), [0, 4, 0]);
    }
}

#[test]
fn an_error_that_quotes_another_pods_packet_is_the_stacks() {
    let yaml = pod(POD, &["10.0.0.2"])
        + &pod("server-1", &["10.0.0.3"])
        + &policy("players", POD, &[REDIRECT])
        + &policy("others", "server-1", &[REDIRECT]);
    let mut desired = desired(&yaml);
    // Two pods are not behind one device.
    desired.pods[1].identity.mac = [4; 6];
    let node = Node::with(&desired);
    let opens = WirePacket::new(false, CONNECTIONS[0][0]);
    let mut to_other = opens.frame();
    to_other[LINK_HEADER + 19] = 3;
    assert_eq!(node.xdp(&to_other).1, ["Opened"]);
    let quoted_source = LINK_HEADER + 20 + 8 + 12;
    let mut error = opens.error_about(&opens.reply().frame()).frame();
    error[quoted_source + 3] = 3;
    let (ran, noted) = node.xdp(&error);
    assert_eq!((ran.action, noted), (XDP_PASS, vec!["StackFlow"]));
}

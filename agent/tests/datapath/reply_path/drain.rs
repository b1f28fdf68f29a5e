//! Pods to which nothing redirects any more.

use xdp_core::testing::wire::{WirePacket, WireProtocol};
use xdp_plan::{
    desired::Desired,
    facts::{NotReady, Readiness},
};

use super::{CONNECTIONS, DATAGRAMS, Node, REDIRECT, shapes, wanted};
use crate::judge::XDP_REDIRECT;

/// Decides about none of these packets.
const OTHERS: &str = "{name: others, ports: [{protocol: UDP, port: 9}], action: Drop}";

fn drains(node: &mut Node) {
    let mut desired = wanted(&[OTHERS]);
    desired.pods[0].draining = true;
    node.install(&desired);
}

#[test]
fn flows_that_the_pod_has_answered_go_on_without_metadata_and_nothing_else_does() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.install(&wanted(&[REDIRECT]));
        node.forget();
        for connection in CONNECTIONS {
            node.establish(wire, connection);
            node.arrives(&wire(connection[0]).with_port(41_000), true, &["Opened"]);
        }
        drains(&mut node);
        for [opens, _, follows] in CONNECTIONS {
            let (ran, noted) = node.xdp(&wire(follows).frame());
            assert_eq!((ran.action, noted), (XDP_REDIRECT, vec!["Drained"]));
            assert!(ran.metadata.is_empty());
            node.pod_sends(&wire(follows).reply(), true, &["ReplyForwarded"]);
            // Not answered, and not begun.
            node.arrives(&wire(follows).with_port(41_000), false, &[]);
            node.arrives(&wire(opens).with_port(42_000), false, &[]);
        }
        assert_eq!(node.entries(), [2, 2, 0]);
    }
}

#[test]
fn datagrams_go_on_and_new_ones_do_not() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.install(&wanted(&[REDIRECT]));
        node.forget();
        for protocol in DATAGRAMS {
            node.arrives(&wire(protocol), true, &["Opened"]);
            node.pod_sends(&wire(protocol).reply(), true, &["ReplyForwarded"]);
            node.arrives(&wire(protocol), true, &["Hit", "Established"]);
        }
        drains(&mut node);
        for protocol in DATAGRAMS {
            node.arrives(&wire(protocol), true, &["Drained"]);
            node.pod_sends(&wire(protocol).reply(), true, &["ReplyForwarded"]);
            node.arrives(&wire(protocol).with_port(41_000), false, &[]);
        }
        let error = wire(WireProtocol::Udp).error_about(&wire(WireProtocol::Udp).reply().frame());
        node.arrives(&error, true, &["ErrorIn"]);
    }
}

#[test]
fn an_entry_that_no_packet_touches_stays_and_carries_nothing() {
    let mut node = Node::new(&[REDIRECT]);
    let wire: fn(WireProtocol) -> WirePacket = |protocol| WirePacket::new(false, protocol);
    node.establish(wire, CONNECTIONS[0]);
    drains(&mut node);
    node.arrives(&wire(CONNECTIONS[0][2]).with_port(41_000), false, &[]);
    assert_eq!(node.datapath.pinned().drained().unwrap(), 0);
    assert_eq!(node.entries(), [1, 0, 0]);
}

#[test]
fn any_packet_that_the_stack_delivers_takes_the_flow_from_a_pod_that_drains() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for connection in CONNECTIONS {
            node.install(&wanted(&[REDIRECT]));
            node.forget();
            node.establish(wire, connection);
            let follows = wire(connection[2]);
            node.stack_delivers(&follows, &[]);
            drains(&mut node);
            node.stack_delivers(&follows, &["Deleted"]);
            assert_eq!(node.entries(), [0, 0, 0]);
            node.arrives(&follows, false, &[]);
            node.pod_sends(&follows.reply(), false, &["ReplyMiss"]);
        }
    }
}

#[test]
fn without_its_flag_a_pod_whose_rules_say_nothing_gets_nothing_past_the_stack() {
    let mut node = Node::new(&[REDIRECT]);
    let wire: fn(WireProtocol) -> WirePacket = |protocol| WirePacket::new(true, protocol);
    node.establish(wire, CONNECTIONS[0]);
    node.install(&wanted(&[OTHERS]));
    node.arrives(&wire(CONNECTIONS[0][2]), false, &[]);
}

#[test]
fn a_pod_that_is_gone_from_the_tables_gives_its_flows_to_the_stack_with_any_packet() {
    let mut node = Node::new(&[REDIRECT]);
    let wire: fn(WireProtocol) -> WirePacket = |protocol| WirePacket::new(true, protocol);
    node.establish(wire, CONNECTIONS[0]);
    node.install(&Desired::default());
    let follows = wire(CONNECTIONS[0][2]);
    node.arrives(&follows, false, &[]);
    node.stack_delivers(&follows, &["Deleted"]);
    node.pod_sends(&follows.reply(), false, &["ReplyMiss"]);
}

#[test]
fn a_pod_without_a_reply_path_gets_nothing_past_the_stack_and_begins_nothing() {
    let mut node = Node::new(&[REDIRECT]);
    let mut desired = wanted(&[REDIRECT]);
    desired.pods[0].reply_path = Readiness::NotReady {
        reason: NotReady::NoReplyPath,
        message: String::new(),
    };
    node.install(&desired);
    for wire in shapes() {
        for protocol in [
            WireProtocol::Udp,
            WireProtocol::Echo,
            CONNECTIONS[0][0],
            CONNECTIONS[1][0],
        ] {
            node.arrives(&wire(protocol), false, &["NoReplyPath"]);
        }
    }
    assert_eq!(node.entries(), [0, 0, 0]);
}

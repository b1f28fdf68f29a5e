//! How flows open, become established, and end.

use xdp_core::testing::wire::{RST, WirePacket, WireProtocol};

use super::{CONNECTIONS, DATAGRAMS, Node, REDIRECT, shapes};

const ABORT: u8 = 6;

#[test]
fn a_connection_without_an_opening_packet_is_the_stacks_both_ways() {
    let node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [_, answers, follows] in CONNECTIONS {
            for protocol in [answers, follows] {
                node.arrives(&wire(protocol), false, &["StackFlow"]);
                node.pod_sends(&wire(protocol).reply(), false, &["ReplyMiss"]);
            }
        }
    }
    assert_eq!(node.entries(), [0, 0, 0]);
}

#[test]
fn a_connection_goes_past_the_stack_from_its_first_packet_and_is_unreplied_until_the_pod_accepts_it() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            node.forget();
            node.arrives(&wire(opens), true, &["Opened"]);
            node.arrives(&wire(opens), true, &["Hit"]);
            node.pod_sends(&wire(answers).reply(), true, &["ReplyForwarded"]);
            node.arrives(&wire(follows), true, &["Hit"]);
            assert_eq!(node.entries(), [0, 1, 0]);
            node.pod_sends(&wire(follows).reply(), true, &["Established", "ReplyForwarded"]);
            assert_eq!(node.entries(), [1, 0, 0]);
            node.pod_sends(&wire(follows).reply(), true, &["ReplyForwarded"]);
            node.arrives(&wire(follows), true, &["Hit"]);
            node.arrives(&wire(follows).with_port(41_000), false, &["StackFlow"]);
            node.pod_sends(&wire(follows).with_port(41_000).reply(), false, &["ReplyMiss"]);
        }
    }
}

#[test]
fn datagrams_and_echo_requests_open_flows_that_the_next_one_after_the_reply_establishes() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for protocol in DATAGRAMS {
            node.forget();
            node.arrives(&wire(protocol), true, &["Opened"]);
            node.arrives(&wire(protocol), true, &["Hit"]);
            for _ in 0..3 {
                node.pod_sends(&wire(protocol).reply(), true, &["ReplyForwarded"]);
            }
            assert_eq!(node.entries(), [0, 1, 0]);
            node.arrives(&wire(protocol), true, &["Hit", "Established"]);
            assert_eq!(node.entries(), [1, 0, 0]);
            node.arrives(&wire(protocol), true, &["Hit"]);
            node.pod_sends(&wire(protocol).reply(), true, &["ReplyForwarded"]);
        }
    }
}

#[test]
fn what_refuses_a_connection_leaves_past_the_stack_and_establishes_nothing() {
    let node = Node::new(&[REDIRECT]);
    let refusals = [WireProtocol::Tcp(RST), WireProtocol::Sctp(ABORT)];
    for wire in shapes().take(2) {
        for ([opens, ..], refuses) in CONNECTIONS.into_iter().zip(refusals) {
            node.arrives(&wire(opens), true, &["Opened"]);
            node.pod_sends(&wire(refuses).reply(), true, &["ReplyForwarded"]);
        }
    }
    assert_eq!(node.entries(), [0, 4, 0]);
}

#[test]
fn what_the_pod_opens_is_the_stacks_even_with_the_ports_of_a_tracked_flow() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            node.forget();
            node.pod_sends(&wire(opens).reply(), false, &["ReplyMiss"]);
            node.arrives(&wire(answers), false, &["StackFlow"]);
            node.establish(wire, [opens, answers, follows]);
            node.pod_sends(&wire(opens).reply(), false, &["Deleted"]);
            assert_eq!(node.entries(), [0, 0, 0]);
            node.arrives(&wire(answers), false, &["StackFlow"]);
            node.pod_sends(&wire(follows).reply(), false, &["ReplyMiss"]);
        }
    }
}

#[test]
fn answers_to_datagrams_that_left_through_the_stack_are_the_stacks() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        let datagram = wire(WireProtocol::Udp);
        node.pod_sends(&datagram.reply(), false, &["ReplyMiss"]);
        node.stack_sends(&datagram.reply(), &["StackFlowNoted"]);
        node.stack_sends(&datagram.reply(), &[]);
        assert_eq!(node.entries(), [0, 0, 1]);
        node.arrives(&datagram, false, &["StackFlow"]);
        node.arrives(&datagram.with_port(41_000), true, &["Opened"]);
    }
}

#[test]
fn answers_to_datagrams_that_the_stack_delivered_fill_no_table_and_the_next_one_opens_a_flow() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        let datagram = wire(WireProtocol::Udp);
        for _ in 0..2 {
            node.stack_delivers(&datagram, &[]);
            node.pod_sends(&datagram.reply(), false, &["ReplyMiss"]);
            node.stack_sends(&datagram.reply(), &[]);
        }
        assert_eq!(node.entries(), [0, 0, 0]);
        node.arrives(&datagram, true, &["Opened"]);
        node.pod_sends(&datagram.reply(), true, &["ReplyForwarded"]);
    }
}

#[test]
fn a_datagram_that_leaves_through_the_stack_takes_its_flow_from_us() {
    let node = Node::new(&[REDIRECT]);
    let datagram = WirePacket::new(false, WireProtocol::Udp);
    node.arrives(&datagram, true, &["Opened"]);
    node.pod_sends(&datagram.reply(), true, &["ReplyForwarded"]);
    // Of another length: the program on the pod's interface has not seen it.
    node.stack_sends(&datagram.clone().longer_by(1).reply(), &["StackFlowNoted"]);
    assert_eq!(node.entries(), [0, 0, 1]);
    node.arrives(&datagram, false, &["StackFlow"]);
}

#[test]
fn an_opening_packet_or_a_datagram_that_the_stack_delivers_gives_the_flow_to_it_and_others_do_not() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            node.forget();
            node.establish(wire, [opens, answers, follows]);
            node.stack_delivers(&wire(follows), &[]);
            node.arrives(&wire(follows), true, &["Hit"]);
            node.stack_delivers(&wire(opens), &["ReclaimedByStack"]);
            node.arrives(&wire(follows), false, &["StackFlow"]);
            node.pod_sends(&wire(follows).reply(), false, &["ReplyMiss"]);
            node.stack_delivers(&wire(opens), &[]);
        }
        for protocol in DATAGRAMS {
            node.forget();
            node.arrives(&wire(protocol), true, &["Opened"]);
            node.stack_delivers(&wire(protocol), &["ReclaimedByStack"]);
            assert_eq!(node.entries(), [0, 0, 0]);
            node.pod_sends(&wire(protocol).reply(), false, &["ReplyMiss"]);
        }
    }
}

#[test]
fn untracked_protocols_go_through_the_stack() {
    let node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for protocol in [WireProtocol::Other(47), WireProtocol::Other(50)] {
            node.arrives(&wire(protocol), false, &["UntrackedProtocol"]);
            node.pod_sends(&wire(protocol).reply(), false, &["ReplyMiss"]);
        }
    }
}

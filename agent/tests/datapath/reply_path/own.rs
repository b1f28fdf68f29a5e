//! Connections that the pod opens through the stack: a rule that drops lets their packets pass.

use xdp_core::testing::wire::{ACK, RST, SYN, WirePacket, WireProtocol};

use super::{CONNECTIONS, Node, shapes};
use crate::judge::{XDP_DROP, XDP_PASS, XDP_TX};

const DROPPING: [&str; 3] = [
    "{name: rest, action: Drop}",
    "{name: rest, action: Reject}",
    "{name: rest, action: Pass, rateLimit: {packetsPerSecond: 1, burst: 1}}",
];
const LINK_HEADER: usize = 14;

impl Node {
    /// A packet to the pod arrives, and a rule drops or rejects it, or it is the pod's own.
    #[track_caller]
    fn is_own(&self, frame: &[u8], own: bool) {
        let (ran, noted) = self.xdp(frame);
        let spared = noted.contains(&"OwnConnection");
        assert_eq!(
            (ran.action == XDP_PASS, spared),
            (own, own),
            "{frame:02x?}: {noted:?}"
        );
        assert!(own || [XDP_DROP, XDP_TX].contains(&ran.action));
    }
}

/// Uses up the rule's limit, if it has one.
fn node(rule: &str) -> Node {
    let node = Node::new(&[rule]);
    let stranger = WirePacket::new(false, WireProtocol::Udp).with_port(1).frame();
    for _ in 0..2 {
        node.xdp(&stranger);
    }
    node
}

/// The pod's own echo request, and the reply to it.
fn echo(v6: bool) -> [Vec<u8>; 2] {
    let wire = WirePacket::new(v6, WireProtocol::Echo);
    let (at, [request, reply]) = if v6 { (40, [128, 129]) } else { (20, [8, 0]) };
    let mut frames = [wire.reply().frame(), wire.frame()];
    frames[0][LINK_HEADER + at] = request;
    frames[1][LINK_HEADER + at] = reply;
    frames
}

#[test]
fn packets_of_a_connection_that_the_pod_opened_pass_and_no_others() {
    for rule in DROPPING {
        for at_nic in [false, true] {
            let node = node(rule);
            // The other shapes have the same addresses and ports.
            for wire in shapes().take(2) {
                let opens = |wire: &WirePacket| {
                    if at_nic {
                        node.stack_sends(
                            wire,
                            if is_datagram(wire) {
                                &["StackFlowNoted"]
                            } else {
                                &[]
                            },
                        );
                    } else {
                        node.pod_sends(wire, false, &["ReplyMiss"]);
                    }
                };
                for ([open, answer, follow], refuse) in CONNECTIONS
                    .into_iter()
                    .zip([WireProtocol::Tcp(RST), WireProtocol::Sctp(6)])
                {
                    node.is_own(&wire(answer).frame(), false);
                    opens(&wire(open).reply());
                    for protocol in [answer, follow, refuse] {
                        node.is_own(&wire(protocol).frame(), true);
                    }
                    node.is_own(&wire(open).frame(), false);
                    node.is_own(&wire(follow).with_port(41_000).frame(), false);
                    let error = wire(open).error_about(&wire(open).reply().frame());
                    node.is_own(&error.frame(), true);
                }
                node.is_own(&wire(WireProtocol::Udp).frame(), false);
                opens(&wire(WireProtocol::Udp).reply());
                node.is_own(&wire(WireProtocol::Udp).frame(), true);
                node.is_own(&wire(WireProtocol::Udp).with_port(41_000).frame(), false);
            }
        }
    }
}

fn is_datagram(wire: &WirePacket) -> bool {
    format!("{wire:?}").contains("Udp")
}

#[test]
fn the_pods_own_echo_is_answered_and_that_of_others_is_not() {
    for rule in DROPPING {
        let node = node(rule);
        for v6 in [false, true] {
            let [request, reply] = echo(v6);
            node.is_own(&reply, false);
            node.sends(node.at_pod(&request), false, &["ReplyMiss"]);
            node.is_own(&reply, true);
            node.is_own(&WirePacket::new(v6, WireProtocol::Echo).frame(), false);
        }
    }
}

#[test]
fn what_the_pod_answers_through_the_stack_is_not_its_own() {
    let node = node(DROPPING[0]);
    for v6 in [false, true] {
        let datagram = WirePacket::new(v6, WireProtocol::Udp);
        node.stack_delivers(&datagram, &[]);
        node.pod_sends(&datagram.reply(), false, &["ReplyMiss"]);
        node.stack_sends(&datagram.reply(), &[]);
        node.is_own(&datagram.frame(), false);
    }
}

#[test]
fn a_connection_that_another_pod_forged_is_no_pods() {
    let node = node(DROPPING[0]);
    for [open, answer, _] in CONNECTIONS {
        let wire = |protocol| WirePacket::new(false, protocol);
        node.forged(&wire(open).reply());
        node.is_own(&wire(answer).frame(), false);
    }
}

#[test]
fn all_fragments_of_an_answer_pass_after_the_first_one_and_no_others() {
    for rule in DROPPING {
        for v6 in [false, true] {
            for protocol in [WireProtocol::Udp, WireProtocol::Tcp(ACK)] {
                // Their packets have the same identification.
                let node = node(rule);
                let answer = WirePacket::new(v6, protocol);
                let (first, later) = (answer.clone().first_fragment(), answer.later_fragment());
                node.is_own(&first.frame(), false);
                node.is_own(&later.frame(), false);
                let opening = if protocol == WireProtocol::Udp {
                    protocol
                } else {
                    WireProtocol::Tcp(SYN)
                };
                node.pod_sends(&WirePacket::new(v6, opening).reply(), false, &["ReplyMiss"]);
                node.is_own(&later.frame(), false);
                node.is_own(&first.frame(), true);
                node.is_own(&later.frame(), true);
                node.is_own(&with_another_id(&later), false);
            }
        }
    }
}

/// A later fragment of another packet between the same hosts.
fn with_another_id(fragment: &WirePacket) -> Vec<u8> {
    let mut frame = fragment.frame();
    let is_v6 = frame[LINK_HEADER] >> 4 == 6;
    frame[LINK_HEADER + if is_v6 { 47 } else { 5 }] ^= 1;
    frame
}

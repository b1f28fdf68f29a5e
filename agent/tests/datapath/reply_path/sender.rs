//! Packets with the address of another pod: they change no flow, and leave through the stack.

use xdp_agent::{
    datapath::{ClassifierRun, TestSkb},
    testing::eventually,
};
use xdp_core::testing::wire::{WirePacket, WireProtocol};
use xdp_plan::hook::Hook;

use super::{CONNECTIONS, DATAGRAMS, Node, REDIRECT, TCX_NEXT, shapes};
use crate::attach::ifindex;

impl Node {
    /// Runs a program as if the packet were at, and had come from, another interface than the pod's.
    #[track_caller]
    fn elsewhere(&self, hook: Hook, wire: &WirePacket, expected: &[&str]) {
        assert_eq!(self.elsewhere_noted(hook, wire), expected, "{wire:?}");
    }

    #[track_caller]
    fn elsewhere_noted(&self, hook: Hook, wire: &WirePacket) -> Vec<&'static str> {
        let nic = ifindex(&self.fixture, "nic0");
        let frame = wire.frame();
        let skb = TestSkb {
            frame: &frame,
            ifindex: nic,
            came_from: nic,
            ..TestSkb::default()
        };
        let (ran, noted) = self.hook(hook, skb);
        assert_eq!(ran.verdict, TCX_NEXT, "{wire:?}");
        noted
    }

    /// A pod sends with the address of this one.
    #[track_caller]
    pub(super) fn forged(&self, wire: &WirePacket) {
        self.elsewhere(Hook::PodOut, wire, &["ReplySpoofed"]);
    }
}

#[test]
fn a_pod_that_sends_with_another_pods_address_neither_uses_nor_ends_its_flows() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            node.forget();
            node.establish(wire, [opens, answers, follows]);
            for protocol in [follows, answers, opens] {
                node.forged(&wire(protocol).reply());
            }
            assert_eq!(node.entries(), [1, 0, 0]);
            node.arrives(&wire(follows), true, &["Hit"]);
            node.pod_sends(&wire(follows).reply(), true, &["ReplyForwarded"]);
        }
    }
}

#[test]
fn a_forged_answer_establishes_no_flow() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        for protocol in DATAGRAMS {
            node.arrives(&wire(protocol), true, &["Opened"]);
            node.forged(&wire(protocol).reply());
        }
        node.arrives(&wire(CONNECTIONS[0][0]), true, &["Opened"]);
        node.forged(&wire(CONNECTIONS[0][2]).reply());
        assert_eq!(node.entries(), [0, 3, 0]);
    }
}

#[test]
fn fragments_and_errors_with_another_pods_address_are_the_stacks() {
    for v6 in [false, true] {
        let node = Node::new(&[REDIRECT]);
        let request = WirePacket::new(v6, WireProtocol::Udp);
        node.arrives(&request, true, &["Opened"]);
        let reply = request.reply();
        node.forged(&reply.clone().first_fragment());
        node.pod_sends(&reply.clone().later_fragment(), false, &["ReplyMiss"]);
        node.pod_sends(&reply.clone().first_fragment(), true, &["ReplyForwarded"]);
        node.forged(&reply.clone().later_fragment());
        node.forged(&reply.error_about(&request.frame()));
    }
}

#[test]
fn what_the_stack_delivers_to_another_interface_ends_no_flow_of_the_pod() {
    let node = Node::new(&[REDIRECT]);
    let wire: fn(WireProtocol) -> WirePacket = |protocol| WirePacket::new(false, protocol);
    node.establish(wire, CONNECTIONS[0]);
    node.elsewhere(Hook::PodIn, &wire(CONNECTIONS[0][0]), &[]);
    node.arrives(&wire(WireProtocol::Udp), true, &["Opened"]);
    node.elsewhere(Hook::PodIn, &wire(WireProtocol::Udp), &[]);
    assert_eq!(node.entries(), [1, 1, 0]);
}

#[test]
fn a_datagram_that_leaves_with_a_pods_address_but_not_from_the_pod_changes_nothing() {
    let node = Node::new(&[REDIRECT]);
    for v6 in [false, true] {
        let datagram = WirePacket::new(v6, WireProtocol::Udp);
        node.arrives(&datagram, true, &["Opened"]);
        node.elsewhere(Hook::NicOut, &datagram.reply(), &[]);
        node.arrives(&datagram, true, &["Hit"]);
    }
    assert_eq!(node.entries(), [0, 2, 0]);
}

/// A bridge is where the packet last came in, instead of the pod's interface.
#[test]
fn behind_a_bridge_the_datagram_that_the_pod_just_sent_is_noted_and_no_other() {
    let node = Node::new(&[REDIRECT]);
    for v6 in [false, true] {
        let datagram = WirePacket::new(v6, WireProtocol::Udp);
        // The stack translates the destination.
        let translated = datagram.clone().with_port(53).reply();
        node.elsewhere(Hook::NicOut, &translated.clone().longer_by(1), &[]);
        node.elsewhere(Hook::NicOut, &translated, &[]);
        // On a busy machine the two programs may run at other times, or on other CPUs, than one packet's.
        eventually("the NIC's program knows the packet", || {
            node.pod_sends(&datagram.reply(), false, &["ReplyMiss"]);
            node.elsewhere_noted(Hook::NicOut, &translated) == ["StackFlowNoted"]
        });
    }
}

#[test]
fn only_a_reply_that_went_past_the_stack_is_known_at_the_nic_and_the_mark_stays_as_it_was() {
    let node = Node::new(&[REDIRECT]);
    let request = WirePacket::new(false, WireProtocol::Udp);
    let frame = request.reply().frame();
    node.arrives(&request, true, &["Opened"]);
    let sent = TestSkb {
        mark: 5,
        ..node.at_pod(&frame)
    };
    let (forwarded, _) = node.hook(Hook::PodOut, sent);
    assert_eq!(forwarded.mark, 5);
    assert_ne!(forwarded.control, [0, 0]);
    let at_nic = TestSkb {
        mark: 5,
        control: forwarded.control,
        ..node.at_pod(&frame)
    };
    let untouched = ClassifierRun {
        verdict: TCX_NEXT,
        mark: 5,
        control: [0, 0],
    };
    assert_eq!(node.hook(Hook::NicOut, at_nic), (untouched, Vec::new()));
    assert_eq!(node.entries(), [0, 1, 0]);
    // Of another length: the program on the pod's interface has not seen it.
    let longer = request.longer_by(1).reply().frame();
    let [high, low] = forwarded.control;
    for control in [[0, 0], [high, low ^ 1], [high ^ 1, low]] {
        let other = TestSkb {
            mark: 5,
            control,
            ..node.at_pod(&longer)
        };
        let (ran, _) = node.hook(Hook::NicOut, other);
        assert_eq!(ran, ClassifierRun { control, ..untouched });
    }
    assert_eq!(node.entries(), [0, 0, 1]);
}

//! Packets in fragments.

use xdp_core::testing::wire::{WirePacket, WireProtocol};

use super::{DATAGRAMS, Node, REDIRECT, shapes};

const IDENTIFICATION: usize = 14 + 4;

#[test]
fn fragments_to_the_pod_take_the_way_through_the_stack_all_of_them() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        let datagram = wire(WireProtocol::Udp);
        node.arrives(&datagram, true, &["Opened"]);
        node.arrives(&datagram.clone().first_fragment(), false, &["Fragment"]);
        node.arrives(&datagram.later_fragment(), false, &["Fragment"]);
    }
}

#[test]
fn fragments_of_a_reply_leave_past_the_stack_after_the_first_one_and_those_of_others_do_not() {
    for v6 in [false, true] {
        for protocol in DATAGRAMS {
            let node = Node::new(&[REDIRECT]);
            let request = WirePacket::new(v6, protocol);
            let reply = request.reply();
            node.pod_sends(&reply.clone().first_fragment(), false, &["ReplyMiss"]);
            node.pod_sends(&reply.clone().later_fragment(), false, &["ReplyMiss"]);
            node.arrives(&request, true, &["Opened"]);
            node.pod_sends(&reply.clone().later_fragment(), false, &["ReplyMiss"]);
            node.pod_sends(&reply.clone().first_fragment(), true, &["ReplyForwarded"]);
            node.pod_sends(&reply.later_fragment(), true, &["ReplyFragment"]);
        }
    }
}

#[test]
fn a_later_fragment_of_another_packet_is_the_stacks() {
    let node = Node::new(&[REDIRECT]);
    let request = WirePacket::new(false, WireProtocol::Udp);
    node.arrives(&request, true, &["Opened"]);
    let reply = request.reply();
    node.pod_sends(&reply.clone().first_fragment(), true, &["ReplyForwarded"]);
    let mut other = reply.later_fragment().frame();
    other[IDENTIFICATION] ^= 1;
    node.sends(node.at_pod(&other), false, &["ReplyMiss"]);
}

#[test]
fn fragments_behind_other_extension_headers_are_the_stacks() {
    let node = Node::new(&[REDIRECT]);
    let request = WirePacket::new(true, WireProtocol::Udp).longer_by(1);
    node.arrives(&request, true, &["Opened"]);
    node.pod_sends(&request.reply().first_fragment(), false, &["ReplyMiss"]);
}

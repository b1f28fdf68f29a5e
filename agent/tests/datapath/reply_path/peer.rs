//! Flows of delivery `Peer`.

use xdp_core::{metadata::Metadata, testing::wire::WirePacket};

use super::{CONNECTIONS, DATAGRAMS, Node, POD, REDIRECT, shapes};
use crate::{
    judge::XDP_PASS,
    node::{desired, pod, policy},
};

fn node() -> Node {
    let policy = policy("players", POD, &[REDIRECT]);
    let policy = policy.replace("  ingress:", "  delivery: Peer\n  ingress:");
    Node::with(&desired(&(pod(POD, &["10.0.0.2", "2001:db8::2"]) + &policy)))
}

/// It goes on to the NIC's stack entry, marked for the pod or not.
#[track_caller]
fn arrives(node: &Node, wire: &WirePacket, marked: bool, expected: &[&str]) {
    let (ran, noted) = node.xdp(&wire.frame());
    assert_eq!((ran.action, noted.as_slice()), (XDP_PASS, expected), "{wire:?}");
    assert_eq!(ran.packet, wire.frame());
    let metadata = Metadata::read(&ran.metadata);
    let device = metadata.and_then(|metadata| Some(metadata.take_peer()?.0));
    assert_eq!(device, marked.then_some(node.host), "{wire:?}");
}

#[test]
fn a_connection_that_begins_behind_the_nics_stack_entry_is_ours_like_any_other() {
    let mut node = node();
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            node.forget();
            arrives(&node, &wire(follows), false, &["StackFlow"]);
            arrives(&node, &wire(opens), true, &["Opened"]);
            node.pod_sends(&wire(answers).reply(), true, &["ReplyForwarded"]);
            arrives(&node, &wire(follows), true, &["Hit"]);
            node.pod_sends(&wire(follows).reply(), true, &["Established", "ReplyForwarded"]);
            assert_eq!(node.entries(), [1, 0, 0]);
            // Redirected packets do not pass there: this one came another way.
            node.stack_delivers(&wire(opens), &["ReclaimedByStack"]);
            arrives(&node, &wire(follows), false, &["StackFlow"]);
        }
    }
}

#[test]
fn a_datagram_after_the_reply_to_one_with_delivery_peer_establishes_its_flow() {
    let mut node = node();
    for wire in shapes() {
        for protocol in DATAGRAMS {
            node.forget();
            arrives(&node, &wire(protocol), true, &["Opened"]);
            node.pod_sends(&wire(protocol).reply(), true, &["ReplyForwarded"]);
            arrives(&node, &wire(protocol), true, &["Hit", "Established"]);
        }
    }
}

#[test]
fn a_packet_with_two_tags_is_the_stacks_and_begins_nothing() {
    let node = node();
    for wire in shapes() {
        let opens = wire(CONNECTIONS[0][0]).tagged(2);
        arrives(&node, &opens, false, &["NoUntag"]);
    }
    assert_eq!(node.entries(), [0, 0, 0]);
}

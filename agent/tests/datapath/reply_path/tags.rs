//! VLAN tags.

use super::{CONNECTIONS, Node, REDIRECT, shapes};

const TAG: usize = 4;

#[test]
fn tagged_packets_belong_to_the_flow_of_their_addresses_and_reach_the_pod_without_tags() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        for [opens, answers, follows] in CONNECTIONS {
            for tags in [1, 2] {
                node.forget();
                node.arrives(&wire(opens).tagged(tags), true, &["Opened"]);
                node.pod_sends(&wire(answers).reply(), true, &["ReplyForwarded"]);
                node.arrives(&wire(follows), true, &["Hit"]);
                node.pod_sends(&wire(follows).reply(), true, &["Established", "ReplyForwarded"]);
                let tagged = wire(follows).tagged(tags).frame();
                let (ran, noted) = node.xdp(&tagged);
                assert_eq!(noted, ["Hit"]);
                assert_eq!(ran.packet[12..], tagged[12 + TAG * tags..]);
            }
        }
    }
}

#[test]
fn what_a_pod_tags_is_for_another_network_than_the_nics() {
    let mut node = Node::new(&[REDIRECT]);
    for wire in shapes() {
        node.forget();
        node.establish(wire, CONNECTIONS[0]);
        let follows = wire(CONNECTIONS[0][2]).reply();
        node.pod_sends(&follows.clone().tagged(1), false, &[]);
        node.pod_sends(&follows, true, &["ReplyForwarded"]);
    }
}

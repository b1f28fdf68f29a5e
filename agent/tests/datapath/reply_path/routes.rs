//! Where replies leave, and when they cannot.

use xdp_core::testing::wire::WirePacket;

use super::{CONNECTIONS, Node, REDIRECT};

const LINK_HEADER: usize = 14;

/// The pod's packets of a flow that is established.
fn replies(node: &Node) -> [WirePacket; 2] {
    let [v4, v6] = [false, true].map(|v6| WirePacket::new(v6, CONNECTIONS[0][2]).reply());
    node.establish(|protocol| WirePacket::new(false, protocol), CONNECTIONS[0]);
    node.establish(|protocol| WirePacket::new(true, protocol), CONNECTIONS[0]);
    [v4, v6]
}

/// As long an IP packet.
fn long(wire: &WirePacket, ip_len: usize) -> Vec<u8> {
    let mut frame = wire.frame();
    let is_v6 = frame[LINK_HEADER] >> 4 == 6;
    let (at, length) = if is_v6 { (4, ip_len - 40) } else { (2, ip_len) };
    frame[LINK_HEADER + at..LINK_HEADER + at + 2].copy_from_slice(&(length as u16).to_be_bytes());
    frame.resize(LINK_HEADER + ip_len, 0);
    frame
}

#[test]
fn a_neighbour_that_is_known_and_one_that_is_not_are_both_reached() {
    let node = Node::new(&[REDIRECT]);
    let replies = replies(&node);
    for reply in &replies {
        node.pod_sends(reply, true, &["ReplyForwarded"]);
    }
    for address in ["10.0.0.9", "2001:db8::9"] {
        let neighbour = format!("neigh add {address} lladdr 02:00:00:00:00:09 dev nic0 nud permanent");
        node.fixture.host.ip(&neighbour);
    }
    for reply in &replies {
        node.pod_sends(reply, true, &["ReplyForwarded"]);
    }
}

#[test]
fn without_a_route_the_stack_has_the_reply() {
    let node = Node::new(&[REDIRECT]);
    let replies = replies(&node);
    node.fixture.host.ip("link set nic0 down");
    for reply in replies {
        node.pod_sends(&reply, false, &["ReplyNoRoute"]);
    }
}

#[test]
fn by_an_interface_that_is_no_nic_the_stack_has_the_reply() {
    let node = Node::new(&[REDIRECT]);
    let replies = replies(&node);
    for remote in ["10.0.0.9/32", "2001:db8::9/128"] {
        node.fixture.host.ip(&format!("route add {remote} dev host0"));
    }
    for reply in replies {
        node.pod_sends(&reply, false, &["ReplyNoRoute"]);
    }
}

#[test]
fn where_the_node_does_not_forward_the_stack_has_the_reply() {
    let node = Node::new(&[REDIRECT]);
    let [v4, _] = replies(&node);
    let setting = "/proc/sys/net/ipv4/ip_forward";
    node.fixture.host.run(|| std::fs::write(setting, "0").unwrap());
    node.pod_sends(&v4, false, &["ReplyNoRoute"]);
}

#[test]
fn what_is_too_long_for_the_nic_is_the_stacks_whether_the_neighbour_is_known_or_not() {
    let node = Node::new(&[REDIRECT]);
    let replies = replies(&node);
    node.fixture.host.ip("link set nic0 mtu 1400");
    let check = |node: &Node| {
        for reply in &replies {
            node.sends(node.at_pod(&long(reply, 1400)), true, &["ReplyForwarded"]);
            node.sends(node.at_pod(&long(reply, 1500)), false, &["ReplyTooLong"]);
        }
    };
    check(&node);
    for address in ["10.0.0.9", "2001:db8::9"] {
        let neighbour = format!("neigh add {address} lladdr 02:00:00:00:00:09 dev nic0 nud permanent");
        node.fixture.host.ip(&neighbour);
    }
    check(&node);
}

//! The programs where they are attached, with packets of real sockets.

use std::net::UdpSocket;

use xdp_agent::testing::eventually;
use xdp_core::{
    events::FlowEvent,
    testing::wire::{WirePacket, WireProtocol},
};
use xdp_plan::hook::Hook;

use super::{Node, REDIRECT};
use crate::attach::ifindex;

const REMOTE: &str = "10.0.0.9:40000";
const SOURCE: usize = 14 + 12;

impl Node {
    /// Neighbours that are known, and the pod's way to the remote host.
    fn connect(&self) {
        let pair = self.fixture.pair();
        let [host, pod] = [pair.host.mac, pair.pod.mac].map(|mac| {
            let octets = mac.map(|octet| format!("{octet:02x}"));
            octets.join(":")
        });
        self.fixture.pod.ip("addr add 10.0.0.2/32 dev eth0");
        for address in ["10.0.0.9", "10.0.0.1"] {
            self.fixture.pod.ip(&format!("route add {address}/32 dev eth0"));
            let neighbour = format!("neigh add {address} lladdr {host} dev eth0 nud permanent");
            self.fixture.pod.ip(&neighbour);
        }
        for neighbour in [
            format!("neigh add 10.0.0.2 lladdr {pod} dev host0 nud permanent"),
            "neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev nic0 nud permanent".to_owned(),
        ] {
            self.fixture.host.ip(&neighbour);
        }
    }

    /// How often it has happened.
    fn count(&self, event: FlowEvent) -> u64 {
        let events = self.datapath.pinned().events().unwrap();
        events.get(&event.code()).map_or(0, |count| count.packets)
    }
}

fn replies_leave_and_what_the_stack_delivers_is_its_own(clsact: bool) {
    let mut node = Node::new(&[REDIRECT]);
    node.connect();
    let nic = ifindex(&node.fixture, "nic0");
    for (hook, ifindex, name) in [
        (Hook::NicOut, nic, "nic0"),
        (Hook::PodIn, node.host, "host0"),
        (Hook::PodOut, node.host, "host0"),
    ] {
        let Node {
            fixture, datapath, ..
        } = &mut node;
        fixture.host.run(|| {
            if clsact {
                datapath.attach_hook_clsact(hook, ifindex, name).map(drop)
            } else {
                datapath.attach_hook(hook, ifindex, name).map(drop)
            }
            .unwrap();
        });
    }
    let from_pod = |port| {
        node.fixture
            .pod
            .run(|| UdpSocket::bind(("10.0.0.2", port)).unwrap())
    };
    let web = from_pod(80);
    node.arrives(&WirePacket::new(false, WireProtocol::Udp), true, &["Opened"]);
    for replies in 1..=2 {
        web.send_to(b"reply", REMOTE).unwrap();
        eventually("a reply leaves past the stack", || {
            node.count(FlowEvent::ReplyForwarded) == replies
        });
    }
    assert_eq!(node.entries(), [0, 1, 0]);
    // The NIC's program knew the first one, at least.
    assert_eq!(node.count(FlowEvent::StackFlowNoted), 0);

    from_pod(81).send_to(b"question", REMOTE).unwrap();
    eventually("the NIC's program notes what leaves through the stack", || {
        node.entries() == [0, 1, 1]
    });
    assert_eq!(node.count(FlowEvent::ReplyMiss), 1);

    let mut from_host = WirePacket::new(false, WireProtocol::Udp).frame();
    from_host[SOURCE + 3] = 1;
    assert_eq!(node.xdp(&from_host).1, ["Opened"]);
    let host = node
        .fixture
        .host
        .run(|| UdpSocket::bind("10.0.0.1:40000").unwrap());
    host.send_to(b"request", "10.0.0.2:80").unwrap();
    eventually("the stack takes over what it delivers", || {
        node.count(FlowEvent::ReclaimedByStack) == 1
    });
    assert_eq!(node.entries(), [0, 1, 1]);
}

#[test]
fn replies_leave_past_the_stack_and_what_the_stack_delivers_is_its_own() {
    replies_leave_and_what_the_stack_delivers_is_its_own(false);
}

#[test]
fn without_tcx_filters_do_the_same() {
    replies_leave_and_what_the_stack_delivers_is_its_own(true);
}

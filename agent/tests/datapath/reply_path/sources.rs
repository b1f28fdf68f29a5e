//! Which sources may open flows, and which frames of a NIC are the node's.

use std::{fs, net::IpAddr};

use xdp_core::{
    tables::{NicEntry, Receiver, Station, TagId, nic_position},
    testing::{
        NIC_MAC,
        wire::{SYN, WirePacket, WireProtocol},
    },
};
use xdp_plan::change::Change;

use super::{Node, REDIRECT};
use crate::{
    attach::ifindex,
    judge::{XDP_DROP, XDP_PASS, XDP_REDIRECT, apply},
};

const PEER: &str = "{name: all, action: Redirect}\n  delivery: Peer";
const LINK_HEADER: usize = 14;

/// The node's NIC as the agent describes it.
struct Routed {
    node: Node,
    nic: u32,
}

impl Routed {
    fn new(rules: &[&str], flags: u32) -> Self {
        let node = Node::new(rules);
        let nic = ifindex(&node.fixture, "nic0");
        let mut routed = Self { node, nic };
        routed.describe(flags);
        routed
    }

    fn describe(&mut self, flags: u32) {
        let receiver = Receiver {
            device: self.nic,
            flags: Receiver::ROUTED | flags,
        };
        let nic = NicEntry {
            mac: NIC_MAC,
            ifindex: self.nic,
            reserved: 0,
            receiver,
        };
        let changes = [
            Change::SetNic {
                position: nic_position(self.nic),
                nic,
            },
            Change::SetStation {
                station: Station::outlet(self.nic),
                receiver,
            },
        ];
        apply(&mut self.node.datapath, &changes);
    }

    fn ip(&self, arguments: &str) {
        self.node.fixture.host.ip(arguments);
    }

    /// Adds another interface with a network.
    fn add_nic(&self) -> u32 {
        for arguments in [
            "link add nic1 type veth peer name wire1",
            "link set nic1 up",
            "link set wire1 up",
            "addr add 10.9.0.1/24 dev nic1",
            "addr add 2001:db8:9::1/64 dev nic1 nodad",
        ] {
            self.ip(arguments);
        }
        ifindex(&self.node.fixture, "nic1")
    }

    /// Describes an interface by which packets leave the node.
    fn leads_out(&mut self, ifindex: u32) {
        let outlet = Change::SetStation {
            station: Station::outlet(ifindex),
            receiver: Receiver {
                device: ifindex,
                flags: Receiver::ROUTED,
            },
        };
        apply(&mut self.node.datapath, &[outlet]);
    }

    fn set(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/net/{path}");
        self.node.fixture.host.run(|| fs::write(path, value).unwrap());
    }

    /// A frame arrives at the NIC.
    #[track_caller]
    fn arrives(&self, frame: &[u8], action: u32, expected: &[&str]) {
        let run = || self.node.datapath.test_run_at(frame, self.nic).unwrap();
        let (ran, noted) = self.node.noted(|| self.node.fixture.host.run(run));
        assert_eq!((ran.action, noted.as_slice()), (action, expected), "{frame:02x?}");
    }

    /// A packet that opens a flow arrives from a source.
    #[track_caller]
    fn opens(&mut self, source: &str, expected: &[&str]) {
        let action = if expected == ["Opened"] {
            XDP_REDIRECT
        } else {
            XDP_PASS
        };
        for protocol in [WireProtocol::Udp, WireProtocol::Tcp(SYN), WireProtocol::Echo] {
            self.node.forget();
            self.arrives(&from(source, protocol), action, expected);
            let unreplied = u64::from(action == XDP_REDIRECT);
            assert_eq!(self.node.entries(), [0, unreplied, 0], "{source}");
        }
    }
}

/// A frame from this source.
fn from(source: &str, protocol: WireProtocol) -> Vec<u8> {
    let source: IpAddr = source.parse().unwrap();
    let mut frame = WirePacket::new(source.is_ipv6(), protocol).frame();
    match source {
        IpAddr::V4(source) => frame[LINK_HEADER + 12..][..4].copy_from_slice(&source.octets()),
        IpAddr::V6(source) => frame[LINK_HEADER + 8..][..16].copy_from_slice(&source.octets()),
    }
    frame
}

const NEIGHBOURS: [&str; 2] = ["10.0.0.9", "2001:db8::9"];

#[test]
fn a_neighbour_opens_flows_whatever_rp_filter_says() {
    for flags in [0, Receiver::STRICT] {
        let mut routed = Routed::new(&[REDIRECT], flags);
        for source in NEIGHBOURS {
            routed.opens(source, &["Opened"]);
        }
    }
}

#[test]
fn martian_sources_and_addresses_of_the_node_and_of_its_pods_open_no_flows() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    // Another pod, which no policy selects.
    routed.ip("route add 10.0.0.3/32 dev host0");
    routed.ip("route add 2001:db8::3/128 dev host0");
    // Nothing is without a route.
    routed.ip("route add default via 10.0.0.9 dev nic0");
    routed.ip("route add default via 2001:db8::9 dev nic0");
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.255",
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "::",
        "::1",
        "ff02::1",
        "fe80::9",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::3",
    ] {
        routed.opens(source, &["Source"]);
    }
    for source in ["198.51.100.7", "2001:db8:7::7"] {
        routed.opens(source, &["Opened"]);
    }
}

#[test]
fn a_source_without_a_route_opens_no_flow() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    for source in ["198.51.100.7", "2001:db8:7::7"] {
        routed.opens(source, &["Source"]);
    }
}

#[test]
fn where_the_route_back_leaves_by_another_nic_rp_filter_decides() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    let nic1 = routed.add_nic();
    let others = ["10.9.0.5", "2001:db8:9::5"];
    for source in others {
        routed.opens(source, &["Source"]);
    }
    routed.leads_out(nic1);
    for source in others {
        routed.opens(source, &["Opened"]);
    }
    routed.describe(Receiver::STRICT);
    routed.opens(others[0], &["ReversePath"]);
    // IPv6 has no such filter.
    routed.opens(others[1], &["Opened"]);
}

#[test]
fn where_the_node_does_not_forward_nothing_opens_a_flow() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    routed.set("ipv4/ip_forward", "0");
    routed.set("ipv6/conf/all/forwarding", "0");
    for source in NEIGHBOURS {
        routed.opens(source, &["NotForwarded"]);
    }
}

#[test]
fn where_no_route_leads_to_the_pod_nothing_opens_a_flow() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    // Its addresses are those of the NIC's network now.
    routed.ip("route del 10.0.0.2/32 dev host0");
    routed.ip("route del 2001:db8::2/128 dev host0");
    for source in NEIGHBOURS {
        routed.opens(source, &["NotForwarded"]);
    }
}

#[test]
fn where_the_route_to_the_pod_leaves_the_node_by_another_nic_nothing_opens_a_flow() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    let nic1 = routed.add_nic();
    for route in ["10.0.0.2/32 via 10.9.0.9", "2001:db8::2/128 via 2001:db8:9::9"] {
        routed.ip(&format!("route replace {route} dev nic1"));
    }
    for source in NEIGHBOURS {
        routed.opens(source, &["Opened"]);
    }
    routed.leads_out(nic1);
    for source in NEIGHBOURS {
        routed.opens(source, &["NotForwarded"]);
    }
}

#[test]
fn a_known_flow_asks_no_routes() {
    let routed = Routed::new(&[REDIRECT], Receiver::STRICT);
    for source in NEIGHBOURS {
        routed.arrives(&from(source, WireProtocol::Udp), XDP_REDIRECT, &["Opened"]);
    }
    routed.set("ipv4/ip_forward", "0");
    routed.set("ipv6/conf/all/forwarding", "0");
    for source in NEIGHBOURS {
        routed.arrives(&from(source, WireProtocol::Udp), XDP_REDIRECT, &["Hit"]);
    }
}

#[test]
fn an_icmp_error_about_a_tracked_flow_needs_a_source_that_can_be_trusted() {
    let routed = Routed::new(&[REDIRECT], 0);
    for v6 in [false, true] {
        let udp = WirePacket::new(v6, WireProtocol::Udp);
        routed.arrives(&udp.frame(), XDP_REDIRECT, &["Opened"]);
        let mut error = udp.error_about(&udp.reply().frame()).frame();
        routed.arrives(&error, XDP_REDIRECT, &["ErrorIn"]);
        let at = LINK_HEADER + if v6 { 8 + 15 } else { 12 + 3 };
        // The node's own address.
        error[at] = 1;
        routed.arrives(&error, XDP_PASS, &["Source"]);
    }
}

#[test]
fn rules_that_drop_ask_no_routes() {
    let routed = Routed::new(&["{name: all, action: Drop}"], Receiver::STRICT);
    for source in ["10.0.0.1", "127.0.0.1", "10.0.0.9", "2001:db8::1"] {
        routed.arrives(&from(source, WireProtocol::Udp), XDP_DROP, &[]);
    }
}

/// Sets the TTL or hop limit.
fn with_ttl(mut frame: Vec<u8>, ttl: u8) -> Vec<u8> {
    let at = if frame[LINK_HEADER] >> 4 == 6 { 7 } else { 8 };
    frame[LINK_HEADER + at] = ttl;
    frame
}

#[test]
fn what_a_router_would_not_forward_is_the_stacks_in_known_flows_too() {
    let routed = Routed::new(&[REDIRECT], 0);
    for source in NEIGHBOURS {
        let frame = from(source, WireProtocol::Udp);
        for ttl in [0, 1] {
            routed.arrives(&with_ttl(frame.clone(), ttl), XDP_PASS, &["TimeToLive"]);
        }
        routed.arrives(&with_ttl(frame.clone(), 2), XDP_REDIRECT, &["Opened"]);
        routed.arrives(&with_ttl(frame, 1), XDP_PASS, &["TimeToLive"]);
    }
}

/// Puts a tag in front of the IP header.
fn tagged(frame: &[u8], protocol: u16, control: u16) -> Vec<u8> {
    let tag = [protocol.to_be_bytes(), control.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

#[test]
fn frames_for_other_stations_and_vlans_are_judged_by_no_rule() {
    for rule in [
        REDIRECT,
        PEER,
        "{name: all, action: Drop}",
        "{name: all, action: Reject}",
    ] {
        let routed = Routed::new(&[rule], 0);
        for source in NEIGHBOURS {
            let frame = from(source, WireProtocol::Udp);
            let mut other = frame.clone();
            other[..6].copy_from_slice(&[2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]);
            routed.arrives(&other, XDP_PASS, &["OtherStation"]);
            routed.arrives(&tagged(&frame, 0x8100, 999), XDP_PASS, &["OtherVlan"]);
            routed.arrives(&tagged(&frame, 0x88a8, 999), XDP_PASS, &["OtherVlan"]);
            let twice = tagged(&tagged(&frame, 0x8100, 40), 0x88a8, 30);
            routed.arrives(&twice, XDP_PASS, &["OtherVlan"]);
        }
    }
}

#[test]
fn tags_for_the_priority_alone_are_looked_through() {
    let mut routed = Routed::new(&[REDIRECT], 0);
    for source in NEIGHBOURS {
        let frame = tagged(&from(source, WireProtocol::Udp), 0x8100, 0xe000);
        routed.arrives(&frame, XDP_PASS, &["OtherStation"]);
    }
    let receiver = Receiver {
        device: routed.nic,
        flags: Receiver::ROUTED,
    };
    let own = Station {
        mac: NIC_MAC,
        nic: routed.nic,
        tags: <[TagId; 2]>::default(),
    };
    let station = Change::SetStation {
        station: own,
        receiver,
    };
    apply(&mut routed.node.datapath, &[station]);
    for source in NEIGHBOURS {
        let frame = tagged(&from(source, WireProtocol::Udp), 0x8100, 0xe000);
        routed.arrives(&frame, XDP_REDIRECT, &["Opened"]);
        let twice = tagged(&frame, 0x88a8, 0);
        routed.arrives(&twice, XDP_REDIRECT, &["Hit"]);
    }
}

#[test]
fn a_nic_that_is_not_described_passes_everything() {
    let routed = Routed::new(&["{name: all, action: Drop}"], 0);
    let wire = ifindex(&routed.node.fixture, "wire0");
    let frame = from(NEIGHBOURS[0], WireProtocol::Udp);
    let run = || routed.node.datapath.test_run_at(&frame, wire).unwrap();
    let (ran, noted) = routed.node.noted(|| routed.node.fixture.host.run(run));
    assert_eq!((ran.action, noted.as_slice()), (XDP_PASS, &["UnknownNic"][..]));
}

//! Routes of replies: other interfaces, gateways, unresolved neighbours, and smaller MTUs.

use std::net::IpAddr;

use xdp_e2e::Agent;
use xdp_lab::{Namespace, NicSpec, Style};

use super::{
    place::{Place, open},
    rules::run,
};
use crate::fixture::at;

const SOME: usize = 300_000;
const PLACES: [(Style, bool); 2] = [(Style::Ptp, false), (Style::Bridge, true)];

fn under_a_policy(test: impl Fn(&Place, &Agent<'_>)) {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let agent = place.start();
        test(&place, &agent);
    }
}

#[test]
fn a_reply_to_a_flushed_neighbour_waits_for_its_resolution() {
    under_a_policy(|place, _| {
        for side in &place.sides {
            let mut connection = place.connect(side.any(0), side.web());
            place.is_fast("after the neighbours are flushed", || {
                run(place.node(), &["ip", "neigh", "flush", "dev", "nic0"], "");
                place.pod_sends(&mut connection, side.client, SOME);
            });
            connection.echo(SOME).unwrap();
        }
    });
}

/// Creates a network behind the client, which is its router, with the host `far`.
fn far(place: &Place, mtu: u32) -> (Namespace, [IpAddr; 2]) {
    let far = place.fixture.lab.namespace("far").unwrap();
    let client = &place.fixture.client;
    client.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    client.set_sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    client.wire("far0", &far, "eth0").unwrap();
    client.set_mtu("far0", mtu).unwrap();
    let [router, own] = [["10.8.0.1", "fd08::1"], ["10.8.0.2", "fd08::2"]];
    for (family, length) in [24, 64].into_iter().enumerate() {
        client
            .add_address("far0", router[family].parse().unwrap(), length)
            .unwrap();
        far.add_address("eth0", own[family].parse().unwrap(), length)
            .unwrap();
        run(
            &far,
            &["ip", "route", "add", "default", "via", router[family]],
            "",
        );
        let via = place.sides[family].client.to_string();
        let net = ["10.8.0.0/24", "fd08::/64"][family];
        run(place.node(), &["ip", "route", "add", net, "via", &via], "");
    }
    (far, own.map(|ip| ip.parse().unwrap()))
}

#[test]
fn clients_behind_a_gateway_are_answered() {
    under_a_policy(|place, _| {
        let (far, addresses) = far(place, 1500);
        for (side, address) in place.sides.iter().zip(addresses) {
            let mut connection = open(&far, side.any(0), side.web());
            assert_eq!(connection.seen().ip(), address);
            place.is_fast("behind a gateway", || {
                connection.echo(SOME).unwrap();
                place.pod_sends(&mut connection, address, SOME);
            });
        }
    });
}

/// A router on the path reports its MTU to the pod by ICMP. If that message were lost, the path would be a
/// black hole.
#[test]
fn a_path_with_a_smaller_mtu_gets_smaller_packets() {
    under_a_policy(|place, _| {
        let (far, addresses) = far(place, 1300);
        for (side, address) in place.sides.iter().zip(addresses) {
            let mut connection = open(&far, side.any(0), side.web());
            place.pod_sends(&mut connection, address, SOME);
            let to = run(&place.pod.ns, &["ip", "route", "get", &address.to_string()], "");
            assert!(to.contains("mtu 1300"), "{to}");
        }
        assert_eq!(super::rules::invalid(place.node()), 0);
    });
}

#[test]
fn the_stack_alone_gets_smaller_packets_through_a_network_with_a_smaller_mtu() {
    let place = Place::new(Style::Bridge, true);
    let (far, addresses) = far(&place, 1300);
    for (side, address) in place.sides.iter().zip(addresses) {
        let mut connection = open(&far, side.any(0), side.web());
        place.pod_sends(&mut connection, address, SOME);
    }
}

#[test]
fn a_nic_with_a_smaller_mtu_than_the_pods_gets_smaller_packets() {
    under_a_policy(|place, _| {
        place.node().set_mtu("nic0", 1400).unwrap();
        for side in &place.sides {
            let mut connection = place.connect(side.any(0), side.web());
            place.pod_sends(&mut connection, side.client, SOME);
            // Packets that fit still bypass the stack.
            place.is_fast("packets that fit", || {
                place.pod_sends(&mut connection, side.client, SOME);
            });
        }
        assert_eq!(super::rules::invalid(place.node()), 0);
    });
}

#[test]
fn replies_leave_by_the_nic_of_the_route_independent_of_the_ingress_nic() {
    under_a_policy(|place, agent| {
        let client = &place.fixture.client;
        let second = place.fixture.lab.nic(NicSpec::new("nic1", client)).unwrap();
        let addresses: [IpAddr; 2] = ["10.9.9.9", "fd09::9"].map(|ip| ip.parse().unwrap());
        for (side, address) in place.sides.iter().zip(addresses) {
            second.add_client_address(address).unwrap();
            agent.wait_for("the NIC is attached", |status| {
                status.nic_mode("nic1") == Some("Native")
            });
            let before = place.node().counters("nic1").unwrap().tx_packets;
            let mut connection = place.connect(at(address, 0), side.web());
            place.is_fast("in by one NIC and out by another", || {
                connection.echo(SOME).unwrap();
                place.pod_sends(&mut connection, address, SOME);
            });
            assert!(place.node().counters("nic1").unwrap().tx_packets > before + 10);
        }
    });
}

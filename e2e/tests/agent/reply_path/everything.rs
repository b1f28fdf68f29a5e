//! All kinds of flows of a pod at the same time: from outside directly and by node port, to the outside and
//! by ClusterIP.

use xdp_lab::{EchoConnection, Style};

use super::{
    place::{ANY, FEW, Place, open, request, udp},
    rules::Proxy,
    side::Side,
};

/// Bytes each way, several segments.
const SOME: usize = 100_000;

/// Whether the pod's packets go through the stack or use the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Stack,
    FastPath,
}

/// Checks the source address of a connection that the pod opens.
fn expect_from_pod(place: &Place, side: &Side, seen: std::net::IpAddr) {
    let expected = if place.masquerade { side.node } else { side.pod };
    assert_eq!(seen, expected, "the source of the pod's connection");
}

/// From outside with the pod's address: TCP and UDP.
fn direct(place: &Place, side: &Side, by: By) -> EchoConnection {
    let mut held = None;
    let did = place.stack_did(|| {
        let mut connection = place.connect(side.any(0), side.web());
        assert_eq!(connection.seen().ip(), side.client);
        connection.echo(SOME).unwrap();
        let reply = place.request(side.any(0), side.web());
        assert_eq!(reply.seen.ip(), side.client);
        held = Some(connection);
    });
    let connection = held.unwrap();
    let local = connection.local().unwrap();
    let tracked = place.node().tracked_of(local.ip(), local.port()).unwrap();
    assert_eq!(
        (did.invalid, tracked),
        (0, usize::from(by == By::Stack)),
        "{did:?}"
    );
    assert_eq!(did.forwarded < FEW, by == By::FastPath, "{did:?}");
    connection
}

/// By the node's address, to two services, of which one translates the client's address.
fn by_node_ports(place: &Place, side: &Side) -> Vec<EchoConnection> {
    let ports = side.node_ports().into_iter().zip([true, false]);
    let held = ports.map(|(to, keeps)| {
        let mut connection = place.connect(side.any(0), to);
        connection.echo(SOME).unwrap();
        assert_eq!(connection.seen().ip() == side.client, keeps, "{to}");
        let reply = place.request(side.any(0), to);
        assert_eq!(reply.seen.ip() == side.client, keeps, "{to}");
        connection
    });
    held.collect()
}

/// Connections that the pod opens: to the outside, and to a ClusterIP.
fn by_the_pod(place: &Place, side: &Side) -> Vec<EchoConnection> {
    let held = [side.outside(), side.cluster_ip()].map(|to| {
        let mut connection = open(&place.pod.ns, side.any(0), to);
        expect_from_pod(place, side, connection.seen().ip());
        connection.echo(SOME).unwrap();
        let mut client = udp(&place.pod.ns, side.any(0));
        for _ in 0..3 {
            expect_from_pod(place, side, request(&mut client, to, 60, 300).seen.ip());
        }
        connection
    });
    held.into()
}

fn everything_works(place: &Place, by: By) {
    // Keep them open until the end: the packets of a close would be counted with those of other connections.
    let mut held = Vec::new();
    let did = place.stack_did(|| {
        for side in &place.sides {
            let mut fast = direct(place, side, by);
            held.extend(by_node_ports(place, side));
            held.extend(by_the_pod(place, side));
            // All are open. Use them again in another order.
            let did = place.stack_did(|| fast.echo(SOME).unwrap());
            assert_eq!(did.forwarded < FEW, by == By::FastPath, "{did:?}");
            for connection in held.iter_mut().rev() {
                connection.echo(SOME).unwrap();
            }
            fast.echo(SOME).unwrap();
            held.push(fast);
        }
    });
    assert_eq!(did.invalid, 0);
}

fn by_the_stack(style: Style, masquerade: bool) {
    everything_works(&Place::new(style, masquerade), By::Stack);
}

#[test]
fn the_stack_alone_does_everything_for_a_pod_with_a_host_route() {
    by_the_stack(Style::Ptp, false);
}

#[test]
fn the_stack_alone_does_everything_for_a_pod_on_a_bridge_behind_masquerade() {
    by_the_stack(Style::Bridge, true);
}

#[test]
fn the_stack_alone_does_everything_with_kube_proxy_in_nftables_mode() {
    everything_works(&Place::with(Proxy::Nftables, Style::Ptp, true), By::Stack);
}

fn under_a_policy(proxy: Proxy, style: Style, masquerade: bool) {
    let place = Place::with(proxy, style, masquerade);
    let agent = place.start();
    everything_works(&place, By::FastPath);
    let status = agent.look();
    for event in ["Opened", "Established", "Hit", "ReplyForwarded"] {
        assert!(status.happened("flowEvents", event) > 0, "{event}: {status:#?}");
    }
}

#[test]
fn everything_works_under_a_policy_for_a_pod_with_a_host_route() {
    under_a_policy(Proxy::Iptables, Style::Ptp, false);
}

#[test]
fn everything_works_under_a_policy_for_a_pod_with_a_host_route_behind_masquerade() {
    under_a_policy(Proxy::Iptables, Style::Ptp, true);
}

#[test]
fn everything_works_under_a_policy_for_a_pod_on_a_bridge() {
    under_a_policy(Proxy::Iptables, Style::Bridge, false);
}

#[test]
fn everything_works_under_a_policy_for_a_pod_on_a_bridge_behind_masquerade() {
    under_a_policy(Proxy::Iptables, Style::Bridge, true);
}

#[test]
fn everything_works_under_a_policy_with_kube_proxy_in_nftables_mode() {
    under_a_policy(Proxy::Nftables, Style::Ptp, true);
}

#[test]
fn everything_works_under_a_policy_whose_delivery_is_peer() {
    let place = Place::new(Style::Ptp, true);
    let spec = "podSelector: {matchLabels: {app: game}}\ndelivery: Peer";
    place.fixture.policy_with("all", spec, &[ANY]);
    let agent = place.fixture.enforce(&["server"]);
    agent.wait_for("the reply path is ready", |status| {
        let pod = status.pod("server");
        pod.is_some_and(|pod| pod["replyPath"]["state"] == "Ready")
            && status.json()["nics"][0]["peer"] == true
    });
    everything_works(&place, By::FastPath);
}

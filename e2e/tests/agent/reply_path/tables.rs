//! The flow tables: entries, eviction, and the effect of missing entries.

use std::net::IpAddr;

use aya::{
    Pod as Plain,
    maps::{Array, HashMap, Map, MapData},
};
use xdp_core::tables::{Address, FlowKey};
use xdp_e2e::{Agent, Status};
use xdp_lab::{EchoConnection, RawSocket, Style};

use super::{
    place::{Place, SOON, request, udp},
    side::{Side, WEB},
};
use crate::{
    fixture::PATIENCE,
    frames::{ip, on_wire},
};

/// The smallest capacity that the agent accepts.
const CAPACITY: usize = 1_024;
const IDLE: usize = 100;
const SOME: usize = 20_000;
/// A datagram that asks the server for one of as many bytes.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0, 0, 0, 1];

/// The key in the kernel's map.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key(FlowKey);

#[expect(unsafe_code, reason = "plain bytes")]
// SAFETY: all fields are numbers, and there is no padding.
unsafe impl Plain for Key {}

fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => Address::v4(v4.octets()),
        IpAddr::V6(v6) => Address::v6(v6.octets()),
    }
}

fn small(place: &Place) -> Agent<'_> {
    place.take_all();
    let mut agent = Agent::new(&place.fixture.lab, &place.fixture.manifests);
    agent = agent.arguments(&["--flows", &CAPACITY.to_string()]);
    agent.start().unwrap();
    agent.wait_for("the NIC is attached and the pod is ready", |status| {
        status.nic_mode("nic0") == Some("Native") && status.ready("server")
    });
    agent
}

fn table(place: &Place, name: &str) -> HashMap<MapData, Key, u64> {
    let pin = place.fixture.pins().join("maps").join(name);
    HashMap::try_from(Map::HashMap(MapData::from_pin(&pin).unwrap())).unwrap()
}

/// Removes all entries, as if they were evicted.
fn evict_all(place: &Place) {
    for name in ["ESTABLISHED", "UNREPLIED"] {
        let mut table = table(place, name);
        let keys: Vec<Key> = table.keys().map(Result::unwrap).collect();
        for key in keys {
            // The kernel may have removed it.
            let _ = table.remove(&key);
        }
    }
    let pin = place.fixture.pins().join("maps/RECENT");
    let mut recent: Array<_, u64> = Array::try_from(Map::Array(MapData::from_pin(&pin).unwrap())).unwrap();
    for index in 0..recent.len() {
        if recent.get(&index, 0).unwrap() != 0 {
            recent.set(index, 0, 0).unwrap();
        }
    }
}

fn idle(place: &Place, side: &Side) -> Vec<EchoConnection> {
    let connect = |_| {
        let mut connection = place.connect(side.any(0), side.web());
        connection.echo(100).unwrap();
        connection
    };
    (0..IDLE).map(connect).collect()
}

#[track_caller]
fn all_are_fast(place: &Place, held: &mut [EchoConnection]) {
    place.is_fast("idle connections", || exercise(held));
}

fn exercise(held: &mut [EchoConnection]) {
    for (index, connection) in held.iter_mut().enumerate() {
        let result = connection.echo(100);
        assert!(result.is_ok(), "connection {index}: {result:?}");
    }
}

/// Sends opening packets from unused ports: SYNs, or datagrams, which the pod answers. The client refuses
/// every answer.
fn flood_of_openings(place: &Place, side: &Side, datagrams: bool) {
    // The stack would retransmit an answer that was lost in a ring, for a flow that is no longer tracked.
    place
        .pod
        .ns
        .set_sysctl("net/ipv4/tcp_synack_retries", "0")
        .unwrap();
    let nic = &place.fixture.nic;
    let wire = RawSocket::sender(&place.fixture.client, &nic.wire).unwrap();
    for number in 0..4 * CAPACITY {
        let from = 10_000 + number as u16;
        let (opening, mut packet) = (ip(side.client, side.pod), Vec::new());
        if datagrams {
            opening.udp(from, WEB).write(&mut packet, &REQUEST).unwrap();
        } else {
            let opening = opening.tcp(from, WEB, 1, 1_000).syn();
            opening.write(&mut packet, &[]).unwrap();
        }
        wire.send(&on_wire(nic, &[], &packet)).unwrap();
        if number % 64 == 63 {
            // The ring of a veth takes 256.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

fn a_flood_evicts_no_connection(datagrams: bool) {
    let place = Place::new(Style::Ptp, true);
    let agent = small(&place);
    // All of them first: during a flood, new connections to the flooded pod take the stack.
    let held = place.sides.iter().flat_map(|side| idle(&place, side));
    let mut held: Vec<EchoConnection> = held.collect();
    for side in &place.sides {
        let seen = |status: &Status| {
            status.happened("flowEvents", "Opened") + status.happened("fallbacks", "FlowLimit")
        };
        let before = seen(&agent.look());
        flood_of_openings(&place, side, datagrams);
        agent.wait_for("all of it was seen", |status| {
            seen(status) >= before + 4 * CAPACITY as u64
        });
        all_are_fast(&place, &mut held);
    }
}

#[test]
fn a_flood_of_syns_evicts_no_connection() {
    a_flood_evicts_no_connection(false);
}

#[test]
fn a_flood_of_answered_datagrams_evicts_no_connection() {
    a_flood_evicts_no_connection(true);
}

#[test]
fn request_datagrams_of_a_pod_evict_no_connection() {
    let place = Place::new(Style::Ptp, false);
    let agent = small(&place);
    let side = &place.sides[0];
    let mut held = idle(&place, side);
    for number in 0..4 * CAPACITY {
        let client = udp(&place.pod.ns, side.any(10_000 + number as u16));
        client.socket().send_to(b"query", side.outside()).unwrap();
    }
    agent.wait_for("all of it was seen", |status| {
        // A ring may lose some.
        status.happened("flowEvents", "StackFlowNoted") >= 4 * CAPACITY as u64 - 64
    });
    all_are_fast(&place, &mut held);
}

#[test]
fn an_evicted_connection_continues_in_the_stack_when_the_client_sends_first() {
    for (style, masquerade) in [(Style::Ptp, true), (Style::Bridge, false)] {
        let place = Place::new(style, masquerade);
        let _agent = small(&place);
        for side in &place.sides {
            let mut held = place.connect(side.any(0), side.web());
            held.echo(SOME).unwrap();
            evict_all(&place);
            let did = place.stack_did(|| held.echo(SOME).unwrap());
            assert!(did.forwarded > 0 && did.invalid == 0, "{did:?}");
        }
    }
}

/// The pod's packet is the first of the connection that the stack sees, so conntrack takes the pod for the
/// opener.
#[test]
fn an_evicted_connection_is_lost_behind_masquerade_when_the_pod_sends_first() {
    for (style, masquerade) in [(Style::Ptp, true), (Style::Bridge, false)] {
        let place = Place::new(style, masquerade);
        let _agent = small(&place);
        for (side, web) in place.sides.iter().zip(&place.web) {
            let mut held = place.connect(side.any(0), side.web());
            held.echo(SOME).unwrap();
            held.set_timeout(if masquerade { SOON } else { PATIENCE })
                .unwrap();
            // The client's last acknowledgement may be delayed (`TCP_DELACK_MAX`, 200 ms): it would be the
            // first packet.
            std::thread::sleep(std::time::Duration::from_millis(300));
            evict_all(&place);
            web.push(held.local().unwrap(), SOME).unwrap();
            assert_eq!(held.receive(SOME).is_err(), masquerade, "{style:?}");
        }
    }
}

#[test]
fn datagrams_of_an_evicted_flow_are_answered_when_the_client_sends() {
    let place = Place::new(Style::Ptp, true);
    let _agent = small(&place);
    for side in &place.sides {
        let mut client = udp(&place.fixture.client, side.any(0));
        request(&mut client, side.web(), 100, 100);
        evict_all(&place);
        request(&mut client, side.web(), 100, 100);
    }
}

/// Answers of the backend match a tracked flow that began before the pod's query.
#[test]
fn a_name_servers_answers_arrive_even_if_they_match_a_tracked_flow() {
    const PORT: u16 = 40_007;
    for masquerade in [false, true] {
        let place = Place::new(Style::Bridge, masquerade);
        let agent = small(&place);
        let slot = agent.look().pod("server").unwrap()["slot"].as_u64().unwrap();
        for side in &place.sides {
            let key = FlowKey {
                remote: address(side.client),
                pod: address(side.pod),
                remote_port: side.outside().port(),
                pod_port: PORT,
                protocol: 17,
            };
            table(&place, "ESTABLISHED").insert(Key(key), slot, 0).unwrap();
            let mut client = udp(&place.pod.ns, side.any(PORT));
            for _ in 0..4 {
                request(&mut client, side.cluster_ip(), 60, 300);
            }
        }
    }
}
